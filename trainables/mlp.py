"""A dropout MLP head on given features: one hidden layer over vectors that an encoder outside has made of the reviews.

What people do today with a frozen language model: everything before the head is the same in every pass, round and trajectory, so it is
computed once, before the study, and a trajectory takes seconds on a CPU. Dropout acts at two sites, the features (``input``) and the
hidden units (``output``); in training both masks are drawn per review, which is the variational dropout of Gal & Ghahramani (2016,
arXiv 1506.02142) for a feed-forward network.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.arrays import Rows
from trainables.classifier import Batch, Classifier, Weights, batch_of, dropout_mask
from trainables.corpus import Reviews

SCORING_BATCH = 4096
"""Reviews a batch of passes: a batch costs a fixed time here, and little memory."""


class Mlp(Classifier):
    """input (H, F), input_bias (H); rectified; output (C, H), output_bias (C)."""

    sites = {"input": "input", "output": "output"}  # noqa: RUF012 - a mapping that nothing changes
    reads_features = True

    def draw_weights(self, rng: np.random.Generator, num_inputs: int, num_classes: int) -> Mapping[str, npt.NDArray[np.floating]]:
        """All U(-1/sqrt(n), 1/sqrt(n)) with n the width that the layer reads."""
        H = self.spec.hidden_dim
        shapes = {"input": (H, num_inputs), "input_bias": (H,), "output": (num_classes, H), "output_bias": (num_classes,)}
        bounds = {"input": num_inputs, "input_bias": num_inputs, "output": H, "output_bias": H}
        return {name: rng.uniform(-1, 1, shape) / np.sqrt(bounds[name]) for name, shape in shapes.items()}

    def hidden_BH(self, weights: Weights, batch: Batch) -> Tensor:
        """(B, H): the rectified hidden layer."""
        return torch.nn.functional.linear(batch.features_BF, weights["input"], weights["input_bias"]).relu()

    def hidden_NH(self, weights: Weights, reviews: Reviews, rows_N: Rows) -> Tensor:
        """(N, H): the same of many reviews."""
        parts = [rows_N[start : start + SCORING_BATCH] for start in range(0, len(rows_N), SCORING_BATCH)]
        return torch.cat([self.hidden_BH(weights, batch_of(reviews, rows, self.execution.device)) for rows in parts])

    def training_logits_BC(self, weights: Weights, reviews: Reviews, rows_B: Rows, rng: np.random.Generator) -> Tensor:
        """(B, C): of one minibatch, with masks of its own for each review."""
        batch = batch_of(reviews, rows_B, self.execution.device)

        def masked(x: Tensor, matrix: str) -> Tensor:
            return x * torch.from_numpy(dropout_mask(rng, tuple(x.shape), self.rate_of(matrix))).to(x.device)

        batch = Batch(batch.token_ids_BL, batch.lengths_B, masked(batch.features_BF, "input"))
        return self.logits_BC(weights, masked(self.hidden_BH(weights, batch), "output"))
