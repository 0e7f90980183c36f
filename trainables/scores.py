"""Scores of single reviews: pure functions ``log_probs_NTC -> scores_N`` of T class distributions a review.

Notation: p_tc is the probability of class c in pass t, pbar its mean over t, H the entropy in nats, 0 log 0 = 0. Sums over t are
float64. They are taken around the first pass, so identical passes give *exactly* zero disagreement: in float32 the plain formula
gave a non-zero BALD to 73% of reviews whose passes were identical.
"""

import numpy as np

from trainables.arrays import Floats

ZERO_TOLERANCE = 1e-12
"""A score nearer to zero is zero: far above float64 rounding of these sums, far below any disagreement worth a label."""


def mean_over_passes(x_NTC: Floats) -> Floats:
    """Mean over axis 1, exact where all passes are equal."""
    first: Floats = x_NTC[:, :1]
    return np.asarray(first[:, 0] + (x_NTC - first).mean(axis=1))


def entropy_of(probs: Floats) -> Floats:
    """Entropy in nats over the last axis, with 0 log 0 = 0."""
    return np.asarray(-np.sum(probs * np.log(np.where(probs > 0, probs, 1)), axis=-1))


def snapped(scores_N: Floats) -> Floats:
    """Scores within `ZERO_TOLERANCE` of zero as zero."""
    return np.where(np.abs(scores_N) < ZERO_TOLERANCE, 0.0, scores_N)


def constant(log_probs_NTC: Floats) -> Floats:
    """The same score for every review: the choice is left to the random keys."""
    return np.zeros(len(log_probs_NTC))


def entropy(log_probs_NTC: Floats) -> Floats:
    """H[pbar]: predictive entropy (Shannon 1948; Gal et al. 2017, arXiv 1703.02910, eq. for max entropy)."""
    return snapped(entropy_of(mean_over_passes(np.exp(log_probs_NTC))))


def bald(log_probs_NTC: Floats) -> Floats:
    """H[pbar] - mean_t H[p_t]: mutual information of label and weights (Houlsby et al. 2011, arXiv 1112.5745, eq. 2).

    Between 0 and ln C; the plug-in estimate is low by about (1 - 1/T).
    """
    probs_NTC = np.exp(log_probs_NTC)
    return snapped(entropy_of(mean_over_passes(probs_NTC)) - mean_over_passes(entropy_of(probs_NTC)[:, :, None])[:, 0])


def mean_std(log_probs_NTC: Floats) -> Floats:
    """mean_c sqrt(mean_t p_tc^2 - pbar_c^2) (Kampffmeyer et al. 2016; Gal et al. 2017)."""
    probs_NTC = np.exp(log_probs_NTC)
    deviation_NTC = probs_NTC - mean_over_passes(probs_NTC)[:, None]
    return snapped(np.sqrt((deviation_NTC**2).mean(axis=1)).mean(axis=1))


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
