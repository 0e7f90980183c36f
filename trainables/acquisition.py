"""Acquisition functions: from log-probabilities to scores; and, in one other place, from scores to a batch.

A score is a pure function ``log_probs_NTC -> scores_N`` of T class distributions a review (T = 1 for the deterministic network); some
need more, and say so. A batch-aware one scores anew after each review that is chosen (``batch_acquisition.py``). What is chosen is
the top q, ties broken by a seeded random key per review and never by position: the IMDB reviews are stored one class after the other,
and variation ratios have only floor(T/2)+1 values. `random` scores every review alike and so ranks by the same key, which makes it the
exact limit of every score that cannot tell reviews apart (T = 1, say).

Notation: p_tc is the probability of class c in pass t, pbar its mean over t, H the entropy in nats, 0 log 0 = 0. Sums over t are
float64. They are taken around the first pass, so identical passes give *exactly* zero disagreement: in float32 the plain formula
gave a non-zero BALD to 73% of reviews whose passes were identical.
"""

import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainables.arrays import Floats, Rows
from trainables.errors import ComputationError
from trainables.plugins import is_plugin, load

ZERO_TOLERANCE = 1e-12
"""A score nearer to zero is zero: far above float64 rounding of these sums, far below any disagreement worth a label."""


Need = Literal["features", "labelled", "keys", "rng"]

Steps = Generator[Floats, int, None]
"""What a batch-aware function returns: it yields the scores of all reviews given the batch so far, and is sent the position of the one
that was chosen."""


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


def mean_over_passes(x_NTC: Floats) -> Floats:
    """Mean over axis 1, exact where all passes are equal."""
    first: Floats = x_NTC[:, :1]
    return np.asarray(first[:, 0] + (x_NTC - first).mean(axis=1))


def entropy_of(probs: Floats) -> Floats:
    """Entropy in nats over the last axis, with 0 log 0 = 0."""
    return np.asarray(-np.sum(probs * np.log(np.where(probs > 0, probs, 1)), axis=-1))


def _snapped(scores_N: Floats) -> Floats:
    return np.where(np.abs(scores_N) < ZERO_TOLERANCE, 0.0, scores_N)


def constant(log_probs_NTC: Floats) -> Floats:
    """The same score for every review: the choice is left to the random keys."""
    return np.zeros(len(log_probs_NTC))


def entropy(log_probs_NTC: Floats) -> Floats:
    """H[pbar]: predictive entropy (Shannon 1948; Gal et al. 2017, arXiv 1703.02910, eq. for max entropy)."""
    return _snapped(entropy_of(mean_over_passes(np.exp(log_probs_NTC))))


def bald(log_probs_NTC: Floats) -> Floats:
    """H[pbar] - mean_t H[p_t]: mutual information of label and weights (Houlsby et al. 2011, arXiv 1112.5745, eq. 2).

    Between 0 and ln C; the plug-in estimate is low by about (1 - 1/T).
    """
    probs_NTC = np.exp(log_probs_NTC)
    return _snapped(entropy_of(mean_over_passes(probs_NTC)) - mean_over_passes(entropy_of(probs_NTC)[:, :, None])[:, 0])


def mean_std(log_probs_NTC: Floats) -> Floats:
    """mean_c sqrt(mean_t p_tc^2 - pbar_c^2) (Kampffmeyer et al. 2016; Gal et al. 2017)."""
    probs_NTC = np.exp(log_probs_NTC)
    deviation_NTC = probs_NTC - mean_over_passes(probs_NTC)[:, None]
    return _snapped(np.sqrt((deviation_NTC**2).mean(axis=1)).mean(axis=1))


def variation_ratio(log_probs_NTC: Floats) -> Floats:
    """1 - (votes for the modal class)/T (Freeman 1965; the vote form of Gal et al. 2017)."""
    _, T, C = log_probs_NTC.shape
    votes_NT = log_probs_NTC.argmax(axis=2)
    modal_N = np.stack([(votes_NT == c).sum(axis=1) for c in range(C)]).max(axis=0)
    return np.asarray(1 - modal_N / T)


def margin(log_probs_NTC: Floats) -> Floats:
    """-(top1 - top2) of pbar (Scheffer et al. 2001)."""
    ordered_NC = np.sort(mean_over_passes(np.exp(log_probs_NTC)), axis=1)
    return np.asarray(ordered_NC[:, -2] - ordered_NC[:, -1])


def least_confidence(log_probs_NTC: Floats) -> Floats:
    """1 - max pbar (Lewis & Gale 1994)."""
    return np.asarray(1 - mean_over_passes(np.exp(log_probs_NTC)).max(axis=1))


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
