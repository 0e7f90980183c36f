"""What each round of a trajectory computes, counted before anything is run: gradient steps, passes and tokens; and what that costs.

By round, because rounds are not alike: the last trains on ten times the labels of the first, and may be evaluated by twenty passes more. A
launch that was interrupted has finished the cheap rounds, and a tenth of ten rounds' cost would be no estimate of the first.

Counts follow from the spec and the corpus alone, so they are exact but for the lengths of the reviews that will be chosen. Seconds are
counts times rates, which `trainables/calibration.py` measures. Where nothing was measured, tokens of forward computation order trajectories
by cost, which is all that the order of running needs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import zip_longest

from trainables.acquisition import AcquisitionFunction, acquisition_function
from trainables.corpus import Corpus
from trainables.spec import TrajectorySpec

BACKWARD_COST = 9
"""A training token costs about nine forward ones: 0.785 against 6.95 million tokens a second at hidden 64 (docs/performance.md)."""


@dataclass(frozen=True)
class Work:
    """Counts of a round, or of several."""

    rounds: int = 0
    gradient_steps: int = 0
    trained_tokens: float = 0.0
    """Real tokens in minibatches; a vector of features counts as one."""
    passes: int = 0
    """Networks run over some reviews, to score or to evaluate."""
    scored_tokens: float = 0.0
    evaluated_tokens: float = 0.0
    choices: float = 0.0
    """Reviews x batch that a batch-aware acquisition function goes through; reviews, for one that scores them jointly; else 0."""

    @property
    def tokens(self) -> float:
        """Of forward computation, training counted by what it costs."""
        return BACKWARD_COST * self.trained_tokens + self.scored_tokens + self.evaluated_tokens


@dataclass(frozen=True)
class Rates:
    """Seconds that each count takes, measured."""

    round_seconds: float
    step_seconds: float
    pass_seconds: float
    """Of a pass over no review: drawing its masks, projecting the vocabulary."""
    token_seconds: float
    choice_seconds: Mapping[str, float]
    """By acquisition function; missing for those that take no time to speak of."""

    def seconds(self, work: Work, acquisition: str) -> float:
        """Of computing, on one place."""
        forward_tokens = work.scored_tokens + work.evaluated_tokens
        return (
            work.rounds * self.round_seconds
            + work.gradient_steps * self.step_seconds
            + work.passes * self.pass_seconds
            + forward_tokens * self.token_seconds
            + work.choices * self.choice_seconds.get(acquisition, 0.0)
        )


def total(works: Iterable[Work]) -> Work:
    """All counts together."""
    found = list(works)
    return Work(**{f.name: sum(getattr(work, f.name) for work in found) for f in fields(Work)})


def work_of(spec: TrajectorySpec, corpus: Corpus) -> tuple[Work, ...]:
    """The counts of each round of a trajectory."""
    budgets = spec.label_budgets or (len(corpus.train),)
    return tuple(_round(spec, corpus, before, after) for before, after in zip_longest(budgets, budgets[1:]))


def _round(spec: TrajectorySpec, corpus: Corpus, labels: int, next_labels: int | None) -> Work:
    """The counts of the round that trains on so many labels; the last one acquires nothing."""
    mean_length = corpus.train.num_tokens / len(corpus.train)
    steps = spec.gradient_steps(round(labels * (1 - spec.validation_fraction)))
    evaluations = 1 + (spec.eval_mc_passes or 0) * (labels in spec.eval_mc_budgets and spec.hidden_drops)
    trained = Work(
        rounds=1,
        gradient_steps=steps,
        trained_tokens=steps * spec.batch_size * mean_length,
        passes=evaluations,
        evaluated_tokens=corpus.test.num_tokens * evaluations,
    )
    if next_labels is None:
        return trained
    function, batch = acquisition_function(spec.acquisition), next_labels - labels
    scored, passes = _scored(spec, len(corpus.train), labels, batch), _scoring_passes(spec, function)
    of_labelled = int("labelled" in function.needs)
    return replace(
        trained,
        passes=evaluations + passes + of_labelled,
        scored_tokens=(passes * scored + of_labelled * labels) * mean_length,
        choices=float(scored * batch if function.is_greedy else scored if function.joint else 0),
    )


def _scored(spec: TrajectorySpec, num_train: int, labels: int, batch: int) -> int:
    """Reviews that a round scores."""
    pool = num_train - labels
    return pool if spec.pool_subsample is None else min(max(spec.pool_subsample, 10 * batch), pool)


def _scoring_passes(spec: TrajectorySpec, function: AcquisitionFunction) -> int:
    """Passes over the scored reviews."""
    mc_passes = spec.mc_passes or 0 if spec.hidden_drops else 1
    passes = {"none": 0, "deterministic": 1, "mc": mc_passes}[function.prediction]
    return passes + ("features" in function.needs and function.prediction != "deterministic")
