"""The LSTM network as a pure function of its weights, and the four places where dropout masks act.

Word embedding, one LSTM layer, pooling over the real tokens, linear layer.

Variational dropout (Gal & Ghahramani 2016, arXiv 1512.05287) draws each mask once per sequence and holds it over all time steps.
For the recurrent state a mask z that a whole batch shares is the same as masking the columns of the recurrent weights,
(h*z) W^T = h (diag(z) W^T), so a fused LSTM runs at full speed. Masks are scaled by 1/(1-p) where they are drawn, so the
deterministic network needs no scaling (weight scaling).

``nn.LSTM(dropout=...)`` acts between layers only and is not what is meant here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import Floats
from trainables.classifier import Weights
from trainables.processor import has_fast_bfloat16
from trainables.spec import Pooling, Precision, TrajectorySpec

States = Callable[[Weights, Tensor, Tensor], Tensor]
"""What computes the states (L, B, H) from weights, inputs (L, B, E) and lengths (B,); `torch_lstm` unless told otherwise."""

SITE_OF_MATRIX = {"embedding": "word", "input": "input", "recurrent": "recurrent", "output": "output"}
"""The dropout site whose masks act on the columns (for the embedding: the rows) of each weight matrix: embedding (V, E); input (4H, E);
recurrent (4H, H); output (C, H). Not masked: input_bias, recurrent_bias (4H); output_bias (C)."""


@dataclass(frozen=True)
class SequenceMasks:
    """Masks that differ from review to review, as training draws them; each is 0 or 1/(1-p)."""

    word_BL: Tensor
    input_BE: Tensor
    output_BH: Tensor


def draw_weights(rng: np.random.Generator, spec: TrajectorySpec, num_embeddings: int, num_classes: int) -> dict[str, Floats]:
    """Fresh weights: embeddings N(0, embedding_std^2), all others U(-1/sqrt(H), 1/sqrt(H))."""
    E, H = spec.embedding_dim, spec.hidden_dim
    bound = 1 / np.sqrt(H)
    shapes = {
        "input": (4 * H, E),
        "recurrent": (4 * H, H),
        "input_bias": (4 * H,),
        "recurrent_bias": (4 * H,),
        "output": (num_classes, H),
        "output_bias": (num_classes,),
    }
    arrays = {"embedding": rng.normal(0, spec.embedding_std, (num_embeddings, E))}
    return arrays | {name: rng.uniform(-bound, bound, shape) for name, shape in shapes.items()}


def torch_lstm(weights: Weights, x_LBE: Tensor, lengths_B: Tensor, precision: Precision = "float32") -> Tensor:
    """(L, B, H): states by torch's fused LSTM, float32; 0 where a review has ended.

    In bfloat16, torch's LSTM is used on CPUs that have such products: on others it is twenty times slower than in float32, and not every
    GPU has it. There inputs and weights are rounded to bfloat16, and the LSTM is computed in float32.
    """
    arrays = [x_LBE, *(weights[name] for name in ("input", "recurrent", "input_bias", "recurrent_bias"))]
    if precision == "bfloat16":
        arrays = [array.bfloat16() for array in arrays]
        if x_LBE.device.type != "cpu" or not has_fast_bfloat16():
            arrays = [array.float() for array in arrays]
    x_LBE, *parameters = arrays
    start_1BH = x_LBE.new_zeros(1, x_LBE.shape[1], weights["recurrent"].shape[1])
    states_LBH, _, _ = torch.lstm(x_LBE, (start_1BH, start_1BH), parameters, True, 1, 0.0, False, False, False)
    ended_LB = torch.arange(len(x_LBE), device=x_LBE.device)[:, None] >= lengths_B
    return states_LBH.float().masked_fill(ended_LB[:, :, None], 0)


def logits_BC(
    weights: Weights,
    token_ids_BL: Tensor,
    lengths_B: Tensor,
    pooling: Pooling,
    masks: SequenceMasks | None = None,
    lstm: States = torch_lstm,
) -> Tensor:
    """Class logits of B reviews under one network.

    Tokens after a review's length change nothing: the LSTM reads forward only, and the pooling looks at real tokens alone.
    """
    pooled_BH = pooled_states(weights, token_ids_BL, lengths_B, pooling, masks, lstm)
    return output_logits(weights, pooled_BH if masks is None else pooled_BH * masks.output_BH)


def pooled_states(
    weights: Weights,
    token_ids_BL: Tensor,
    lengths_B: Tensor,
    pooling: Pooling,
    masks: SequenceMasks | None = None,
    lstm: States = torch_lstm,
) -> Tensor:
    """(B, H): the pooled LSTM states of B reviews, float32 whatever they were computed in."""
    x_LBE = torch.nn.functional.embedding(token_ids_BL.T, weights["embedding"])
    if masks is not None:
        x_LBE = x_LBE * masks.word_BL.T[:, :, None] * masks.input_BE
    return _pool(lstm(weights, x_LBE, lengths_B), lengths_B, pooling)


def output_logits(weights: Weights, pooled_BH: Tensor) -> Tensor:
    """(B, C): the output layer."""
    return torch.nn.functional.linear(pooled_BH, weights["output"], weights["output_bias"])


def _pool(states_LBH: Tensor, lengths_B: Tensor, pooling: Pooling) -> Tensor:
    """(B, H): the mean, last or largest state of each review's real tokens; states after its end are 0."""
    if pooling == "last":
        return states_LBH[lengths_B.long() - 1, torch.arange(len(lengths_B), device=lengths_B.device)]
    if pooling == "max":
        ended_LB = torch.arange(len(states_LBH), device=lengths_B.device)[:, None] >= lengths_B
        return states_LBH.masked_fill(ended_LB[:, :, None], -torch.inf).amax(dim=0)
    return states_LBH.sum(dim=0) / lengths_B[:, None]
