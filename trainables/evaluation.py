"""Measure a network's predictions on reviews whose labels are known.

Two predictions are told apart. *Deterministic*: the network with dropout off (weight scaling). *MC*: the mean of the class
distributions of a study-wide number of thinned networks, the same for every arm, so that acquisition and prediction can be
separated. Every metric is computed from float32 log-probabilities as they are stored, so a metric computed later from the ledger
equals the one in it. (In float16 a probability of .9999 becomes 1 and the negative log-likelihood infinite.)
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainables.arrays import Floats, Floats32, Ids
from trainables.classifier import Classifier, Weights
from trainables.corpus import Reviews
from trainables.mc_dropout import Distributions

ECE_BINS = 15


@dataclass(frozen=True)
class Metrics:
    """How good a set of predictions is."""

    accuracy: float
    """Fraction whose most probable class is right."""
    nll: float
    """Mean negative log-likelihood of the true class, in nats."""
    brier: float
    """Mean over reviews of sum_c (p_c - [c is true])^2 (Brier 1950): 0 to 2."""
    ece: float
    """Expected calibration error of the top label, 15 equal-width bins (Naeini et al. 2015; Guo et al. 2017)."""


def metrics(log_probs_NC: Floats32, labels_N: Ids) -> Metrics:
    """All metrics of (N, C) log-probabilities in nats, summed in float64."""
    log_probs = log_probs_NC.astype(np.float64)
    probs_NC = np.exp(log_probs)
    everyone = np.arange(len(labels_N))
    right_N = probs_NC.argmax(axis=1) == labels_N
    truth_NC = np.zeros_like(probs_NC)
    truth_NC[everyone, labels_N] = 1
    return Metrics(
        accuracy=float(right_N.mean()),
        nll=float(-log_probs[everyone, labels_N].mean()),
        brier=float(((probs_NC - truth_NC) ** 2).sum(axis=1).mean()),
        ece=expected_calibration_error(probs_NC.max(axis=1), right_N),
    )


def expected_calibration_error(confidence_N: Floats, right_N: npt.NDArray[np.bool_]) -> float:
    """Sum over bins of (share of reviews) * |accuracy - mean confidence|; bins are (0, 1/15], ..., (14/15, 1]."""
    bin_N = np.clip(np.ceil(confidence_N * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    gap = np.bincount(bin_N, weights=right_N - confidence_N, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(confidence_N))


def predict(classifier: Classifier, weights: Weights, reviews: Reviews, *, round_: int, mc_passes: int | None) -> dict[str, Floats32]:
    """(N, C) log-probabilities of all reviews by mode: ``deterministic``, and ``mc`` if a number of passes is given."""
    distributions = Distributions(classifier, weights, reviews, np.arange(len(reviews)))
    found = {"deterministic": distributions.deterministic()}
    if mc_passes:
        found["mc"] = distributions.mean(mc_passes, round_)
    return {mode: log_probs_NC.astype(np.float32) for mode, log_probs_NC in found.items()}
