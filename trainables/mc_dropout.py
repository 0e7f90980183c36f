"""Monte Carlo dropout: T thinned networks, and the class distributions they give to every review.

One MC pass is ONE thinned network applied to the whole pool: its masks are drawn from the stream of (seed, pass, round) and
multiplied into the weights. A review's distributions then do not depend on the reviews that are scored beside it, nor on batch or
chunk (to rounding), a smaller T's passes are the first of a larger T's, and all arms of a seed see the same networks. Drawing
masks per batch, as a network left in training mode does, has none of these properties.

The model's uncertainty about a review is the disagreement of these distributions (Gal & Ghahramani 2016, arXiv 1506.02142).
Reviews are taken a chunk at a time, so no array of all reviews by T by C is ever held for a large pool, and an acquisition
function stays what it is on paper: a function from log-probabilities to scores.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from trainables.arrays import Floats, Rows
from trainables.corpus import Reviews
from trainables.model import SITE_OF_MATRIX, Weights, batch_tensors, dropout_mask, logits_BC
from trainables.spec import Execution, TrajectorySpec
from trainables.streams import mc_masks, stream

CHUNK = 4096
"""Reviews whose T passes are held at once: 4096 x T=100 x C=2 in float64 are 7 MB. A whole number of scoring batches."""


def thinned_network(weights: Weights, spec: TrajectorySpec, round_: int, mc_pass: int) -> Weights:
    """The weights of MC pass `mc_pass`: dropped word types are zero rows, dropped units zero columns, the rest scaled by 1/(1-p)."""
    rng = stream(spec.seed, mc_masks(mc_pass), round_)
    thinned = dict(weights)
    for matrix, site in SITE_OF_MATRIX.items():
        rows, columns = weights[matrix].shape
        shape = (rows, 1) if site == "word" else (1, columns)
        mask = torch.from_numpy(dropout_mask(rng, shape, spec.site_rate(site)))
        thinned[matrix] = weights[matrix] * mask.to(weights[matrix].device)
    return thinned


def deterministic_log_probs(weights: Weights, spec: TrajectorySpec, reviews: Reviews, rows_N: Rows, execution: Execution) -> Floats:
    """(N, C) log-probabilities, in nats, of the network with dropout off (weight scaling)."""
    order_N = np.argsort(reviews.lengths_N[rows_N], kind="stable")
    log_probs_NC = np.empty((len(rows_N), len(weights["output_bias"])))
    with torch.inference_mode():
        for start in range(0, len(rows_N), execution.scoring_batch):
            positions_B = order_N[start : start + execution.scoring_batch]
            token_ids_BL, lengths_B = batch_tensors(reviews.token_ids_NL, reviews.lengths_N, rows_N[positions_B], execution.device)
            logits = logits_BC(weights, token_ids_BL, lengths_B, spec.pooling)
            log_probs_NC[positions_B] = torch.log_softmax(logits.double(), dim=1).cpu().numpy()
    return log_probs_NC


def mc_log_probs(
    weights: Weights, spec: TrajectorySpec, reviews: Reviews, rows_N: Rows, *, round_: int, passes: int, execution: Execution
) -> Floats:
    """(N, T, C) log-probabilities, in nats, of `passes` thinned networks."""
    log_probs_NTC = np.empty((len(rows_N), passes, len(weights["output_bias"])))
    for t in range(passes):
        network = thinned_network(weights, spec, round_, t)
        log_probs_NTC[:, t] = deterministic_log_probs(network, spec, reviews, rows_N, execution)
    return log_probs_NTC


def over_chunks(reviews: Reviews, rows_N: Rows, compute: Callable[[Rows], Floats]) -> Floats:
    """Apply `compute` (rows of a chunk -> one result a row) to all rows, `CHUNK` reviews of like length at a time."""
    order_N = np.argsort(reviews.lengths_N[rows_N], kind="stable")
    parts = [compute(rows_N[positions]) for positions in _chunks(order_N)]
    in_order = np.concatenate(parts)
    result = np.empty_like(in_order)
    result[order_N] = in_order
    return result


def _chunks(order_N: Rows) -> Iterator[Rows]:
    for start in range(0, len(order_N), CHUNK):
        yield order_N[start : start + CHUNK]
