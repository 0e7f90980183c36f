"""Acquisition functions: their one registry, what each needs, and the one place where scores become a batch.

A score is a pure function ``log_probs_NTC -> scores_N`` of T class distributions a review (T = 1 for the deterministic network); some
need more, and say so. A batch-aware one scores anew after each review that is chosen (``batch_acquisition.py``). What is chosen is
the top q, ties broken by a seeded random key per review and never by position: the IMDB reviews are stored one class after the other,
and variation ratios have only floor(T/2)+1 values. `random` scores every review alike and so ranks by the same key, which makes it the
exact limit of every score that cannot tell reviews apart (T = 1, say).
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainables.arrays import Floats, Rows
from trainables.batch_acquisition import Steps, badge, batch_bald, epig, k_center, power_bald
from trainables.errors import ComputationError
from trainables.plugins import is_plugin, load
from trainables.scores import bald, constant, entropy, least_confidence, margin, mean_std, variation_ratio

Need = Literal["features", "labelled", "keys", "rng"]


@dataclass(frozen=True)
class AcquisitionFunction:
    """One way to choose reviews, and what its score has to be given."""

    score: Callable[..., Any]
    """(N, T, C) log-probabilities in nats, and as keyword arguments what `needs` names, -> (N,) scores; the highest are chosen. A
    generator function is *batch-aware*: what it returns are `Steps`."""
    prediction: Literal["none", "deterministic", "mc"]
    """What the score reads: nothing, the deterministic network (T = 1), or T thinned networks."""
    min_passes: int = 1
    """Fewest passes at which the score can differ between reviews; above 1, it cannot without dropout either."""
    joint: bool = False
    """Whether a review's score depends on the other reviews, so that all have to be given at once; batch-aware ones always are."""
    needs: tuple[Need, ...] = ()
    """features: ``features_NH``, what the output layer reads, dropout off. labelled: ``labelled_features_MH``, the same of the labelled
    set. keys: ``keys_N``, the round's random key of each review, uniform in [0, 1), by which ties are broken and `random` ranks. rng:
    ``rng``, a generator keyed by (seed, round)."""

    @property
    def is_greedy(self) -> bool:
        """Whether it is batch-aware: its reviews are chosen one at a time."""
        return inspect.isgeneratorfunction(self.score)


ACQUISITIONS: dict[str, AcquisitionFunction] = {
    "random": AcquisitionFunction(constant, "none"),
    "softmax_entropy": AcquisitionFunction(entropy, "deterministic"),
    "softmax_margin": AcquisitionFunction(margin, "deterministic"),
    "softmax_least_confidence": AcquisitionFunction(least_confidence, "deterministic"),
    "entropy": AcquisitionFunction(entropy, "mc"),
    "margin": AcquisitionFunction(margin, "mc"),
    "least_confidence": AcquisitionFunction(least_confidence, "mc"),
    "bald": AcquisitionFunction(bald, "mc", 2),
    "mean_std": AcquisitionFunction(mean_std, "mc", 2),
    "variation_ratio": AcquisitionFunction(variation_ratio, "mc", 2),
    "power_bald": AcquisitionFunction(power_bald, "mc", 2, needs=("keys",)),
    "epig": AcquisitionFunction(epig, "mc", 2, joint=True, needs=("keys",)),
    "batch_bald": AcquisitionFunction(batch_bald, "mc", 2, needs=("rng",)),
    "k_center": AcquisitionFunction(k_center, "none", needs=("features", "labelled")),
    "badge": AcquisitionFunction(badge, "deterministic", needs=("features", "rng")),
}
"""The one registry: every name that a study may use."""


def acquisition_function(name: str) -> AcquisitionFunction:
    """The function that a study names: one of `ACQUISITIONS`, or a plug-in.

    Raises:
        ImportError: a plug-in that cannot be loaded.
    """
    return load(name, AcquisitionFunction, "AcquisitionFunction") if is_plugin(name) else ACQUISITIONS[name]


def checked(scores: object, num_reviews: int, name: str) -> Floats:
    """Scores as (N,) float64.

    Raises:
        ComputationError: they are something else, or not all finite; names the function.
    """
    try:
        scores_N = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ComputationError(f"{name} gave no array of numbers as scores, but {type(scores).__name__}") from error
    if scores_N.shape != (num_reviews,):
        raise ComputationError(f"{name} gave scores of shape {scores_N.shape} for {num_reviews:,} reviews; it must be ({num_reviews},)")
    if not np.isfinite(scores_N).all():
        raise ComputationError(f"{name} gave {(~np.isfinite(scores_N)).sum():,} scores that are not finite, of {num_reviews:,}")
    return scores_N


def select(scores_N: Floats, keys_N: Floats, batch: int) -> Rows:
    """Positions of the `batch` highest scores, best first; equal scores rank by the smaller key."""
    return np.lexsort((keys_N, -scores_N))[:batch]


def select_greedily(steps: Steps, keys_N: Floats, batch: int, name: str) -> Rows:
    """Positions of `batch` reviews, each the best given those before it, by a batch-aware function; ties as in `select`.

    Raises:
        ComputationError: it ends early, or gives what are no scores; names the function.
    """
    chosen: list[int] = []
    free_N = np.ones(len(keys_N), dtype=bool)
    try:
        scores = next(steps)
        while True:
            scores_N = checked(scores, len(keys_N), name)
            tied = np.flatnonzero(free_N & (scores_N == scores_N[free_N].max()))
            chosen.append(int(tied[keys_N[tied].argmin()]))
            free_N[chosen[-1]] = False
            if len(chosen) == batch:
                return np.array(chosen)
            scores = steps.send(chosen[-1])
    except StopIteration:
        raise ComputationError(f"{name} ended after {len(chosen):,} of {batch:,} reviews") from None
    finally:
        steps.close()
