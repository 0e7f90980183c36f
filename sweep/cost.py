"""What a trajectory computes, counted before anything is run: gradient steps, passes and tokens; and what that costs.

Counts follow from the spec and the corpus alone, so they are exact but for the lengths of the reviews that will be chosen. Seconds are
counts times rates, which `trainables/calibration.py` measures. Where nothing was measured, tokens of forward computation order trajectories
by cost, which is all that the order of running needs.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise

from trainables.acquisition import acquisition_function
from trainables.corpus import Corpus
from trainables.spec import FULL_DATA, TrajectorySpec

BACKWARD_COST = 9
"""A training token costs about nine forward ones: 0.785 against 6.95 million tokens a second at hidden 64 (docs/performance.md)."""


@dataclass(frozen=True)
class Work:
    """Counts of a trajectory, or of several."""

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
        """Of a trajectory, on one place."""
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


def work_of(spec: TrajectorySpec, corpus: Corpus) -> Work:
    """The counts of a whole trajectory."""
    num_train = len(corpus.train)
    mean_length = corpus.train.num_tokens / num_train
    budgets = spec.label_budgets or (num_train,)
    steps = [spec.gradient_steps(round(budget * (1 - spec.validation_fraction))) for budget in budgets]
    mc_passes = len(spec.eval_mc_budgets) * (spec.eval_mc_passes or 0) if spec.hidden_drops else 0
    scored = [_scored(spec, num_train, before, after) for before, after in pairwise(budgets)]
    passes = _scoring_passes(spec)
    return Work(
        rounds=len(budgets),
        gradient_steps=sum(steps),
        trained_tokens=sum(steps) * spec.batch_size * mean_length,
        passes=len(budgets) + mc_passes + passes * len(scored),
        scored_tokens=passes * sum(scored) * mean_length,
        evaluated_tokens=corpus.test.num_tokens * (len(budgets) + mc_passes),
        choices=_choices(spec, scored, [after - before for before, after in pairwise(budgets)]),
    )


def _scored(spec: TrajectorySpec, num_train: int, before: int, after: int) -> float:
    """Reviews that a round scores."""
    subsample = math.inf if spec.pool_subsample is None else spec.pool_subsample
    return min(max(subsample, 10 * (after - before)), num_train - before)


def _scoring_passes(spec: TrajectorySpec) -> int:
    if spec.acquisition == FULL_DATA:
        return 0
    function = acquisition_function(spec.acquisition)
    mc_passes = spec.mc_passes or 0 if spec.hidden_drops else 1
    passes = {"none": 0, "deterministic": 1, "mc": mc_passes}[function.prediction]
    return passes + ("features" in function.needs and function.prediction != "deterministic")


def _choices(spec: TrajectorySpec, scored: list[float], batches: list[int]) -> float:
    if spec.acquisition == FULL_DATA:
        return 0.0
    function = acquisition_function(spec.acquisition)
    if function.is_greedy:
        return float(sum(reviews * batch for reviews, batch in zip(scored, batches, strict=True)))
    return float(sum(scored)) if function.joint else 0.0
