"""The active-learning loop, as a generator of finished rounds. Read this file first.

A round trains a network on the labelled set, measures it on the test set, scores a part of the pool and acquires the best:

    labelled <- initial set
    for each label budget: train, evaluate, acquire, yield

Round 0 trains on the initial set; the last round acquires nothing. The full-data model is a trajectory like any other: one round,
with every label. The state between rounds is the list of what was acquired and nothing else, so going on from finished rounds is
the same code as starting: `rounds` skips what is there.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from trainables.arrays import Floats32, Ids, Rows
from trainables.classifier import Weights, classifier_of, weights_hash
from trainables.corpus import Corpus
from trainables.errors import ComputationError, LedgerError
from trainables.evaluation import metrics, predict
from trainables.mc_dropout import Distributions
from trainables.plugins import check_version
from trainables.rounds import Round, Row
from trainables.scoring import Scoring, blamed
from trainables.spec import Execution, TrajectorySpec
from trainables.streams import INITIAL_SET, SUBSAMPLE_KEYS, VALIDATION_KEYS, stream
from trainables.training import Fitted, fit

SCORED_PER_ACQUIRED = 10
"""Each round scores at least this many times the reviews that it acquires."""


def rounds(spec: TrajectorySpec, corpus: Corpus, finished: Sequence[Round], execution: Execution) -> Iterator[Round]:
    """Compute the rounds that are not finished yet, one at a time.

    Args:
        spec: what to compute.
        corpus: the data that `spec.corpus` names.
        finished: rounds 0 to k-1, as the ledger read them.
        execution: where and how; changes no science column beyond rounding.

    Yields:
        Rounds k to the last, each complete.

    Raises:
        ComputationError: a loss, score or metric that is not finite, or a plug-in that fails; names trajectory and round.
        LedgerError: the finished rounds contradict the spec.
    """
    with _named(spec, len(finished)):
        steps = _Steps(spec, corpus, execution)
        labelled, weights = steps.replay(finished)
    for number in range(len(finished), spec.num_rounds):
        with _named(spec, number), blamed(spec.classifier):
            done, weights = steps.round(labelled, weights, number)
        labelled = np.concatenate([labelled, np.array(done.acquired, dtype=np.int64)])
        yield done


@contextmanager
def _named(spec: TrajectorySpec, number: int) -> Iterator[None]:
    """Say of an error of the computation in which round of which trajectory it came."""
    try:
        yield
    except (ComputationError, ImportError) as error:
        raise ComputationError(f"trajectory {spec.trajectory_id}, round {number}: {error}") from error


def initial_set(spec: TrajectorySpec, num_reviews: int) -> Rows:
    """The reviews labelled before any acquisition, the same for all arms of a seed; every review for the full-data model."""
    if spec.label_budgets is None:
        return np.arange(num_reviews)
    return stream(spec.seed, INITIAL_SET, 0).permutation(num_reviews)[: spec.label_budgets[0]]


def pool_subsample(spec: TrajectorySpec, num_reviews: int, labelled: Rows, batch: int, round_: int) -> Rows:
    """The reviews that a round scores: those of the pool with the smallest keys of the round, in order of position.

    Keys belong to reviews, not to places in the pool, so arms whose pools have diverged still share nearly all of it.
    """
    pool = np.setdiff1d(np.arange(num_reviews), labelled)
    if spec.pool_subsample is None:
        return pool
    size = max(spec.pool_subsample, SCORED_PER_ACQUIRED * batch)
    keys_N = stream(spec.seed, SUBSAMPLE_KEYS, round_).random(num_reviews)[pool]
    return np.sort(pool[np.argsort(keys_N, kind="stable")[:size]])


def class_balance(labels_N: Ids, num_classes: int) -> float:
    """Entropy of the class counts over ln C: 1 is balanced, 0 is one class (Pielou's evenness, 1966)."""
    shares = np.bincount(labels_N, minlength=num_classes) / len(labels_N)
    return float(-np.sum(shares * np.log(np.where(shares > 0, shares, 1))) / np.log(num_classes))


@dataclass(frozen=True)
class _Trained:
    """The outcome of a round's training."""

    fitted: Fitted
    initial_weights_hash: str
    accuracy_validation: float | None


class _Steps:
    """The steps of a round, for one trajectory."""

    def __init__(self, spec: TrajectorySpec, corpus: Corpus, execution: Execution) -> None:
        for stated in spec.plugins:
            check_version(stated)
        self.spec = spec
        self.corpus = corpus
        self.execution = execution
        self.classifier = classifier_of(spec, execution)
        self.scoring = Scoring(spec, corpus, self.classifier)
        self.device = torch.cuda.get_device_name() if execution.device == "cuda" else "cpu"

    def initial_set_hash(self) -> str | None:
        """Of the initial set; None for the full-data model, which chooses nothing."""
        if self.spec.label_budgets is None:
            return None
        return hashlib.sha256(initial_set(self.spec, len(self.corpus.train)).astype("<i8").tobytes()).hexdigest()[:16]

    def replay(self, finished: Sequence[Round]) -> tuple[Rows, Weights | None]:
        """The labelled set after the finished rounds; with warm starts their networks are trained again, to the same bits."""
        labelled, weights = initial_set(self.spec, len(self.corpus.train)), None
        if finished and finished[0].row.initial_set_hash != self.initial_set_hash():
            raise LedgerError(f"trajectory {self.spec.trajectory_id} began from another initial set than its seed gives on this corpus")
        for number, done in enumerate(finished):
            if self.spec.warm_start:
                weights = self.train(labelled, weights, number).fitted.weights
            labelled = np.concatenate([labelled, np.array(done.acquired, dtype=np.int64)])
        if len(np.unique(labelled)) != len(labelled):
            raise LedgerError(f"the ledger of trajectory {self.spec.trajectory_id} acquired a review twice")
        return labelled, weights

    def round(self, labelled: Rows, weights: Weights | None, number: int) -> tuple[Round, Weights]:
        """One whole round: what was measured and acquired, and the network that did it."""
        began = time.perf_counter()
        trained = self.train(labelled, weights, number)
        network = trained.fitted.weights
        trained_at = time.perf_counter()
        predictions = self.predict(network, len(labelled), number)
        evaluated_at = time.perf_counter()
        acquired, scored_tokens = self.acquire(network, labelled, number)
        scored_at = time.perf_counter()
        tokens = trained.fitted.tokens + scored_tokens + self.evaluated_tokens(predictions)
        row = Row(
            trajectory_id=self.spec.trajectory_id,
            seed=self.spec.seed,
            acquisition=self.spec.acquisition,
            dropout_rate=self.spec.dropout_rate,
            mc_passes=self.spec.mc_passes,
            round=number,
            num_labelled=len(labelled),
            **self.metric_columns(predictions),
            accuracy_validation=trained.accuracy_validation,
            **self.acquired_columns(acquired),
            train_loss=trained.fitted.train_loss,
            train_objective=trained.fitted.train_objective,
            gradient_steps=trained.fitted.gradient_steps,
            train_seconds=trained_at - began,
            score_seconds=scored_at - evaluated_at,
            evaluate_seconds=evaluated_at - trained_at,
            tokens_per_second=tokens / (scored_at - began),
            device=self.device,
            initial_set_hash=self.initial_set_hash(),
            initial_weights_hash=trained.initial_weights_hash,
        )
        kept = predictions if self.execution.store_predictions and "mc" in predictions else {}
        return Round(row, tuple(acquired.tolist()), kept), network

    def train(self, labelled: Rows, weights: Weights | None, number: int) -> _Trained:
        """Fit on the labelled set less its validation part; from fresh weights unless rounds start warm."""
        if weights is None or not self.spec.warm_start:
            weights = self.classifier.initial_weights(self.classifier.num_inputs(self.corpus), len(self.corpus.class_names), number)
        keys_N = stream(self.spec.seed, VALIDATION_KEYS, 0).random(len(self.corpus.train))[labelled]
        num_validation = int(self.spec.validation_fraction * len(labelled))
        by_key = labelled[np.argsort(keys_N, kind="stable")]
        kept_out, trained_on = by_key[:num_validation], labelled[~np.isin(labelled, by_key[:num_validation])]
        fitted = fit(self.classifier, self.corpus.train, trained_on, weights, number)
        accuracy = None
        if num_validation:
            log_probs_NC = Distributions(self.classifier, fitted.weights, self.corpus.train, kept_out).deterministic()
            accuracy = float((log_probs_NC.argmax(axis=1) == self.corpus.train.labels_N[kept_out]).mean())
        return _Trained(fitted, weights_hash(weights), accuracy)

    def predict(self, network: Weights, num_labelled: int, number: int) -> dict[str, Floats32]:
        """Test log-probabilities by mode: ``deterministic``, and ``mc`` at the MC evaluation budgets."""
        spec = self.spec
        mc_passes = spec.eval_mc_passes if num_labelled in spec.eval_mc_budgets else None
        return predict(self.classifier, network, self.corpus.test, round_=number, mc_passes=mc_passes)

    def acquire(self, network: Weights, labelled: Rows, number: int) -> tuple[Rows, int]:
        """The reviews chosen from the pool, best first, and the tokens that scoring read."""
        budgets = self.spec.label_budgets
        if budgets is None or number == len(budgets) - 1:
            return np.empty(0, dtype=np.int64), 0
        batch = budgets[number + 1] - budgets[number]
        candidates = pool_subsample(self.spec, len(self.corpus.train), labelled, batch, number)
        return self.scoring.choose(network, labelled, candidates, batch, number)

    def metric_columns(self, predictions: dict[str, Floats32]) -> dict[str, Any]:
        """The row's metrics of both modes; None for a mode that was not measured."""
        columns: dict[str, Any] = {}
        for mode in ("deterministic", "mc"):
            measured = asdict(metrics(predictions[mode], self.corpus.test.labels_N)) if mode in predictions else {}
            columns |= {f"{name}_{mode}": measured.get(name) for name in ("accuracy", "nll", "brier", "ece")}
        broken = [name for name, value in columns.items() if value is not None and not np.isfinite(value)]
        if broken:
            raise ComputationError(f"{', '.join(broken)} on the test set: not finite")
        return columns

    def acquired_columns(self, acquired: Rows) -> dict[str, Any]:
        """Class balance and mean length of the acquired batch; None where there is none."""
        if not len(acquired):
            return {"acquired_class_balance": None, "acquired_mean_length": None}
        return {
            "acquired_class_balance": class_balance(self.corpus.train.labels_N[acquired], len(self.corpus.class_names)),
            "acquired_mean_length": float(self.corpus.train.lengths_N[acquired].mean()),
        }

    def evaluated_tokens(self, predictions: dict[str, Floats32]) -> int:
        """Test tokens that went through the network."""
        passes = 1 + (self.spec.eval_mc_passes or 0) * ("mc" in predictions)
        return passes * self.corpus.test.num_tokens
