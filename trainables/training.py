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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from trainables.arrays import Ids, Rows
from trainables.classifier import Classifier, Weights
from trainables.corpus import Reviews
from trainables.errors import ComputationError
from trainables.spec import TrajectorySpec
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


def prior_coefficients(classifier: Classifier, matrices: Iterable[str], num_reviews: int) -> dict[str, float]:
    """l^2 / (2 N (1-p)) of each weight matrix, p being the rate of the matrix's own site, 0 for one that no mask touches."""
    twice_n, l2 = 2 * num_reviews, classifier.spec.prior_length_scale**2
    return {matrix: l2 / (twice_n * (1 - classifier.rate_of(matrix))) for matrix in matrices}


def fit(classifier: Classifier, reviews: Reviews, rows_N: Rows, start: Weights, round_: int) -> Fitted:
    """Train a copy of `start` on the given reviews.

    Raises:
        ComputationError: a loss that is not finite; the message has the step, the caller adds trajectory and round.
    """
    spec = classifier.spec
    steps = spec.gradient_steps(len(rows_N))
    weights = {name: value.to(classifier.execution.device, copy=True).requires_grad_() for name, value in start.items()}
    matrices = [name for name, value in start.items() if value.ndim > 1]
    coefficients = prior_coefficients(classifier, matrices, len(rows_N))
    optimizer = torch.optim.Adam(
        [{"params": [value], "weight_decay": 2 * coefficients.get(name, 0.0)} for name, value in weights.items()],
        lr=spec.learning_rate,
        fused=True,
    )
    masks_rng = stream(spec.seed, TRAINING_MASKS, round_)
    losses = np.empty(steps)
    tokens = 0
    for step, rows_B in enumerate(batches(spec, reviews.lengths_N[rows_N], rows_N, steps, round_)):
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * (1 - step / steps)
        losses[step] = _gradient_step(classifier, reviews, rows_B, weights, optimizer, masks_rng)
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
    classifier: Classifier,
    reviews: Reviews,
    rows_B: Rows,
    weights: Weights,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> float:
    """One step of Adam; returns the batch's mean cross-entropy in nats before the step."""
    logits_BC = classifier.training_logits_BC(weights, reviews, rows_B, rng)
    labels_B = torch.from_numpy(reviews.labels_N[rows_B].astype(np.int64)).to(logits_BC.device)
    loss = torch.nn.functional.cross_entropy(logits_BC, labels_B)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(weights.values(), classifier.spec.gradient_clip)
    optimizer.step()
    return float(loss.detach())


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
