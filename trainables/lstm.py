"""The LSTM classifier: word embedding, one LSTM layer, pooling, linear layer, with dropout at all four sites.

The network itself is in ``model.py``; here it meets what computes it fast (``passes.py`` for whole pools, ``recurrence.py`` for training)
and the masks of training: the recurrent mask is drawn per minibatch, so that the fused LSTM runs at full speed, the cheap ones (word
types, inputs, pooled outputs) per review.
"""

from collections.abc import Mapping
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import Floats, Floats32, Ids, Rows
from trainables.classifier import Batch, Classifier, Weights, batch_of, dropout_mask
from trainables.corpus import Reviews
from trainables.model import SITE_OF_MATRIX, SequenceMasks, States, draw_weights, logits_BC, pooled_states, torch_lstm
from trainables.passes import CompiledEngine, TorchEngine, compiled_kernel, engine
from trainables.recurrence import CompiledLstm
from trainables.spec import TrajectorySpec


class Lstm(Classifier):
    """Weights as in `model.SITE_OF_MATRIX`."""

    sites = SITE_OF_MATRIX

    def draw_weights(self, rng: np.random.Generator, num_inputs: int, num_classes: int) -> Mapping[str, Floats]:
        """Embeddings N(0, embedding_std^2), all others U(-1/sqrt(H), 1/sqrt(H))."""
        return draw_weights(rng, self.spec, num_inputs, num_classes)

    def hidden_BH(self, weights: Weights, batch: Batch) -> Tensor:
        """(B, H): the pooled states."""
        return pooled_states(weights, batch.token_ids_BL, batch.lengths_B, self.spec.pooling, lstm=self._states)

    def hidden_NH(self, weights: Weights, reviews: Reviews, rows_N: Rows) -> Tensor:
        """(N, H): the pooled states of many reviews, by the kernel where it computes."""
        return self._engine.pooled_states(weights, reviews, rows_N)

    def scoring_logits_NC(self, weights: Weights, hidden_NH: Tensor) -> Tensor:
        """(N, C): the output layer, of which a review's result is the same in any company where the kernel computes."""
        return self._engine.logits(weights, hidden_NH)

    def training_logits_BC(self, weights: Weights, reviews: Reviews, rows_B: Rows, rng: np.random.Generator) -> Tensor:
        """(B, C): of one minibatch under masks of its own."""
        batch = batch_of(reviews, rows_B, self.execution.device)
        masks, recurrent_H = _training_masks(self.spec, batch.token_ids_BL.cpu().numpy(), rng, self.execution.device)
        network = weights | {"recurrent": weights["recurrent"] * recurrent_H}
        return logits_BC(network, batch.token_ids_BL, batch.lengths_B, self.spec.pooling, masks, self._states)

    @cached_property
    def _engine(self) -> CompiledEngine | TorchEngine:
        return engine(self.spec, self.execution)

    @cached_property
    def _states(self) -> States:
        """What computes the states of a batch, and their gradients."""
        compiled = compiled_kernel(self.execution)
        if compiled is None:
            return partial(torch_lstm, precision=self.spec.precision)
        return CompiledLstm(compiled, self.spec.precision)


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
