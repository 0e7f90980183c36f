"""Monte Carlo dropout: T thinned networks, and the class distributions they give to every review.

One MC pass is ONE thinned network applied to the whole pool: its masks are drawn from the stream of (seed, pass, round) and
multiplied into the weights. A review's distributions then do not depend on the reviews that are scored beside it, nor on batch or
chunk, a smaller T's passes are the first of a larger T's, and all arms of a seed see the same networks. Drawing masks per batch, as
a network left in training mode does, has none of these properties.

The model's uncertainty about a review is the disagreement of these distributions (Gal & Ghahramani 2016, arXiv 1506.02142). A score
is on paper a function of all T of them, and stays one here: passes are made for as many reviews at once as their distributions fit
into `HELD_NUMBERS`, which is every pool but the largest. The mean over passes, which is all that a prediction needs, is summed up as
the passes are made.
"""

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import Floats, Rows
from trainables.classifier import Classifier, Weights
from trainables.corpus import Reviews
from trainables.streams import mc_masks, stream

HELD_NUMBERS = 16_000_000
"""Most probabilities (reviews x T x C) that are held at once: 128 MB in float64."""


class ThinnedNetworks:
    """The thinned networks of one trained network, one at a time, each written over the one before."""

    def __init__(self, classifier: Classifier, weights: Weights, round_: int) -> None:
        """Nothing is drawn yet; what no mask touches is shared with `weights`."""
        self._classifier = classifier
        self._weights = weights
        self._round = round_
        self._thinned = weights | {matrix: torch.empty_like(weights[matrix]) for matrix in classifier.sites}

    def of_pass(self, mc_pass: int) -> Weights:
        """The network of one MC pass, until the next: dropped word types are zero rows, dropped units zero columns, the rest 1/(1-p)."""
        rng = stream(self._classifier.spec.seed, mc_masks(mc_pass), self._round)
        for matrix in self._classifier.sites:
            whole = self._weights[matrix]
            torch.mul(whole, self._classifier.mask(rng, matrix, whole), out=self._thinned[matrix])
        return self._thinned


class Distributions:
    """The class distributions that one trained network gives to some reviews: with dropout off, and pass by pass.

    Where no mask touches what comes before the output layer, that is computed once for all of them.
    """

    def __init__(self, classifier: Classifier, weights: Weights, reviews: Reviews, rows_N: Rows) -> None:
        """Nothing is computed yet."""
        self._classifier = classifier
        self._weights = weights
        self._reviews = reviews
        self._rows_N = rows_N

    @cached_property
    def hidden_NH(self) -> Tensor:
        """(N, H): what the output layer reads, with dropout off."""
        return self._classifier.compute_hidden(self._weights, self._reviews, self._rows_N)

    def deterministic(self) -> Floats:
        """(N, C) log-probabilities, in nats, of the network with dropout off (weight scaling)."""
        return self._classifier.log_probs_of_hidden(self._weights, self.hidden_NH)

    def of_passes(self, passes: int, round_: int) -> Iterator[Floats]:
        """(N, C) log-probabilities, in nats, of each thinned network of a round."""
        networks = ThinnedNetworks(self._classifier, self._weights, round_)
        return (self._of(networks.of_pass(t)) for t in range(passes))

    def mean(self, passes: int, round_: int) -> Floats:
        """(N, C) logarithm of the mean probability over the thinned networks of a round, summed up pass by pass."""
        sum_NC = np.full((len(self._rows_N), len(self._weights["output_bias"])), -np.inf)
        for log_probs_NC in self.of_passes(passes, round_):
            np.logaddexp(sum_NC, log_probs_NC, out=sum_NC)
        return np.asarray(sum_NC - np.log(passes))

    def stacked(self, passes: int, round_: int) -> Floats:
        """(N, T, C) log-probabilities, in nats, of `passes` thinned networks of a round."""
        log_probs_NTC = np.empty((len(self._rows_N), passes, len(self._weights["output_bias"])))
        for t, log_probs_NC in enumerate(self.of_passes(passes, round_)):
            log_probs_NTC[:, t] = log_probs_NC
        return log_probs_NTC

    def _of(self, network: Weights) -> Floats:
        if self._classifier.hidden_drops:
            return self._classifier.log_probs_NC(network, self._reviews, self._rows_N)
        return self._classifier.log_probs_of_hidden(network, self.hidden_NH)


def in_parts(rows_N: Rows, numbers_per_review: int, compute: Callable[[Rows], Floats]) -> Floats:
    """Apply `compute` (rows -> one result a row) to so many rows at a time that no more than `HELD_NUMBERS` are held."""
    size = max(1, HELD_NUMBERS // max(1, numbers_per_review))
    return np.concatenate([compute(rows_N[start : start + size]) for start in range(0, len(rows_N), size)])
