"""Fit one network on the labelled set: dropout training as variational inference.

The objective is that of Gal & Ghahramani (2016, arXiv 1512.05287, and 1506.02142 eq. 1), for inverted dropout

    mean cross-entropy + sum over weight matrices  l^2 / (2 N (1-p)) ||W||^2        (biases excluded)

with N the number of reviews trained on, so the second term weakens as labels arrive: a weight decay held constant over the rounds
would be another prior in every round. Each matrix takes the p of its own dropout site, the embedding included. In torch's terms it
is ``Adam(weight_decay=l^2 / (N (1-p)))``, whose gradient is twice the coefficient times W; AdamW's decoupled decay is another
objective. Clipping acts on the gradient of the cross-entropy; Adam adds the prior's gradient after it.

The learning rate falls linearly to zero over the round, which lowers the noise from round to round, and the last weights are used:
no checkpoint is ever chosen.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import Floats32, Ids, Rows
from trainables.corpus import Reviews
from trainables.errors import ComputationError
from trainables.model import SITE_OF_MATRIX, Lstm, SequenceMasks, Weights, batch_tensors, dropout_mask, logits_BC, torch_lstm
from trainables.passes import compiled_kernel
from trainables.recurrence import CompiledLstm
from trainables.spec import Execution, TrajectorySpec
from trainables.streams import BATCH_ORDER, TRAINING_MASKS, stream

BUCKET_BATCHES = 16
"""Batches whose reviews are sorted by length among themselves, so that a batch pads little and its members stay random."""


@dataclass(frozen=True)
class Fitted:
    """A trained network and what its training was like."""

    weights: Weights
    train_loss: float
    """Mean cross-entropy in nats over the last pass through the labelled set, dropout on."""
    train_objective: float
    """`train_loss` plus the prior term of the final weights."""
    gradient_steps: int
    tokens: int
    """Real tokens that went through the network."""


def gradient_steps(spec: TrajectorySpec, num_reviews: int) -> int:
    """Gradient steps of a round that trains on `num_reviews`: max(min_steps, epochs * N / batch)."""
    return max(spec.min_steps, math.ceil(spec.epochs * num_reviews / spec.batch_size))


def prior_coefficients(spec: TrajectorySpec, num_reviews: int) -> dict[str, float]:
    """l^2 / (2 N (1-p)) of each weight matrix, p being the rate of the matrix's own site."""
    twice_n = 2 * num_reviews
    return {matrix: spec.prior_length_scale**2 / (twice_n * (1 - spec.site_rate(site))) for matrix, site in SITE_OF_MATRIX.items()}


def fit(spec: TrajectorySpec, reviews: Reviews, rows_N: Rows, start: Weights, round_: int, execution: Execution) -> Fitted:
    """Train a copy of `start` on the given reviews.

    Raises:
        ComputationError: a loss that is not finite; the message has the step, the caller adds trajectory and round.
    """
    steps = gradient_steps(spec, len(rows_N))
    weights = {name: value.to(execution.device, copy=True).requires_grad_() for name, value in start.items()}
    coefficients = prior_coefficients(spec, len(rows_N))
    optimizer = torch.optim.Adam(
        [{"params": [value], "weight_decay": 2 * coefficients.get(name, 0.0)} for name, value in weights.items()],
        lr=spec.learning_rate,
        fused=True,
    )
    masks_rng = stream(spec.seed, TRAINING_MASKS, round_)
    lstm = _lstm(spec, execution)
    losses = np.empty(steps)
    tokens = 0
    for step, rows_B in enumerate(batches(spec, reviews.lengths_N[rows_N], rows_N, steps, round_)):
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * (1 - step / steps)
        losses[step] = _gradient_step(spec, reviews, rows_B, weights, optimizer, masks_rng, execution.device, lstm)
        tokens += int(reviews.lengths_N[rows_B].sum())
        if not np.isfinite(losses[step]):
            raise ComputationError(f"the training loss is {losses[step]} at gradient step {step} of {steps}")
    train_loss = float(losses[-max(1, round(len(rows_N) / spec.batch_size)) :].mean())
    trained = {name: value.detach() for name, value in weights.items()}
    prior = sum(coefficient * float(trained[name].double().square().sum()) for name, coefficient in coefficients.items())
    if not np.isfinite(prior):
        raise ComputationError(f"the prior term of the weights is {prior} after {steps} gradient steps")
    return Fitted(trained, train_loss, train_loss + prior, steps, tokens)


def _gradient_step(
    spec: TrajectorySpec,
    reviews: Reviews,
    rows_B: Rows,
    weights: Weights,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    device: str,
    lstm: Lstm,
) -> float:
    """One step of Adam; returns the batch's mean cross-entropy in nats before the step."""
    token_ids_BL, lengths_B = batch_tensors(reviews.token_ids_NL, reviews.lengths_N, rows_B, device)
    masks, recurrent_H = _training_masks(spec, token_ids_BL.cpu().numpy(), rng, device)
    network = weights | {"recurrent": weights["recurrent"] * recurrent_H}
    logits = logits_BC(network, token_ids_BL, lengths_B, spec.pooling, masks, lstm)
    labels_B = torch.from_numpy(reviews.labels_N[rows_B].astype(np.int64)).to(device)
    loss = torch.nn.functional.cross_entropy(logits, labels_B)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(weights.values(), spec.gradient_clip)
    optimizer.step()
    return float(loss.detach())


def _lstm(spec: TrajectorySpec, execution: Execution) -> Lstm:
    """What computes the states, and their gradients."""
    compiled = compiled_kernel(execution)
    if compiled is None:
        return partial(torch_lstm, precision=spec.precision)
    return CompiledLstm(compiled, spec.precision)


def batches(spec: TrajectorySpec, lengths_N: Ids, rows_N: Rows, steps: int, round_: int) -> Iterator[Rows]:
    """Batches, longest review first, of whole passes over the labelled set laid end to end: buckets are sorted by length, then shuffled."""
    rng = stream(spec.seed, BATCH_ORDER, round_)
    batch = min(spec.batch_size, len(rows_N))
    passes = math.ceil(steps * batch / len(rows_N))
    order = np.concatenate([rng.permutation(len(rows_N)) for _ in range(passes)])[: steps * batch]
    for start in range(0, len(order), BUCKET_BATCHES * batch):
        bucket = order[start : start + BUCKET_BATCHES * batch]
        sorted_batches = bucket[np.argsort(-lengths_N[bucket], kind="stable")].reshape(-1, batch)
        for positions_B in rng.permutation(sorted_batches):
            yield rows_N[positions_B]


def _training_masks(spec: TrajectorySpec, token_ids_BL: Ids, rng: np.random.Generator, device: str) -> tuple[SequenceMasks, Tensor]:
    """Masks of one minibatch: word types, inputs and outputs per review; the recurrent mask (H,) shared by the batch."""
    arrays = (
        _word_mask_BL(token_ids_BL, rng, spec.site_rate("word")),
        dropout_mask(rng, (len(token_ids_BL), spec.embedding_dim), spec.site_rate("input")),
        dropout_mask(rng, (len(token_ids_BL), spec.hidden_dim), spec.site_rate("output")),
        dropout_mask(rng, (spec.hidden_dim,), spec.site_rate("recurrent")),
    )
    word_BL, input_BE, output_BH, recurrent_H = (torch.from_numpy(array).to(device) for array in arrays)
    return SequenceMasks(word_BL, input_BE, output_BH), recurrent_H


def _word_mask_BL(token_ids_BL: Ids, rng: np.random.Generator, rate: float) -> Floats32:
    """One draw per word type and review, at all its occurrences there: four times cheaper than a draw per review and vocabulary row."""
    stride = int(token_ids_BL.max()) + 1
    types = token_ids_BL + np.arange(len(token_ids_BL))[:, None] * stride
    distinct, occurrence = np.unique(types, return_inverse=True)
    mask: Floats32 = dropout_mask(rng, (len(distinct),), rate)[occurrence.reshape(token_ids_BL.shape)]
    return mask
