"""The kernel's LSTM as a differentiable function: the states of a training batch, and backpropagation through time.

``lstm.c`` computes what runs along the sequence, forward and backward, and keeps what the gradients need. The gradients of the weights do
not run along it: they are one matrix product over the whole batch afterwards, which is torch's.
"""

import ctypes
import math
from typing import Any

import torch
from torch import Tensor

from trainables.kernel import Kernel, kernel_gates, packed, packed_backward, whole_lanes
from trainables.model import Weights
from trainables.spec import Precision

SIZES = ("precision", "L", "B", "E", "H")
ARRAYS = (
    "lengths", "input_weights", "recurrent_weights", "backward_weights", "bias", "inputs", "before", "states", "cells", "gates",
    "state_gradients", "gate_gradients", "input_gradients", "bias_gradients",
)  # fmt: skip


class _Batch(ctypes.Structure):
    """`Batch` of ``lstm.c``."""

    _fields_ = [*((name, ctypes.c_int64) for name in SIZES), *((name, ctypes.c_void_p) for name in ARRAYS)]


class CompiledLstm:
    """Computes states as `model.torch_lstm` does; its memory is kept from batch to batch, so one batch at a time.

    Fresh memory for every batch costs a fifth of a training step: its pages are handed out, and cleared, one by one.
    """

    def __init__(self, compiled: Kernel, precision: Precision) -> None:
        """Memory is taken when there is a batch."""
        self.compiled = compiled
        self.precision = precision
        self._memory: dict[str, Tensor] = {}

    def __call__(self, weights: Weights, x_LBE: Tensor, lengths_B: Tensor) -> Tensor:
        """(L, B, H): states of B reviews, differentiable in inputs and weights; 0 where a review has ended.

        Args:
            weights: of one network, float32.
            x_LBE: the reviews' inputs, float32.
            lengths_B: in falling order.
        """
        compiled = self.compiled
        bias_G = kernel_gates(weights["input_bias"] + weights["recurrent_bias"], compiled)
        input_GE, recurrent_GH = (whole_lanes(kernel_gates(weights[name], compiled), compiled) for name in ("input", "recurrent"))
        states: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
            whole_lanes(x_LBE, compiled), input_GE, recurrent_GH, bias_G, lengths_B.int(), self
        )
        return states[:, :, : weights["recurrent"].shape[1]]

    def memory(self, name: str, *shape: int, operands: bool = False) -> Tensor:
        """An array whose content is what the batch before left there."""
        dtype = self.compiled.operand_type(self.precision) if operands else torch.float32
        if name not in self._memory or self._memory[name].numel() < math.prod(shape):
            self._memory[name] = torch.empty(math.prod(shape), dtype=dtype)
        return self._memory[name][: math.prod(shape)].view(shape)


class _Recurrence(torch.autograd.Function):
    """Gates scaled and laid out as the kernel wants them; widths of whole lanes."""

    @staticmethod
    def forward(
        ctx: Any, x_LBE: Tensor, input_GE: Tensor, recurrent_GH: Tensor, bias_G: Tensor, lengths_B: Tensor, lstm: CompiledLstm
    ) -> Tensor:
        (L, B, E), (G, H) = x_LBE.shape, recurrent_GH.shape
        compiled, precision = lstm.compiled, lstm.precision
        ctx.arrays = {
            "lengths": lengths_B,
            "input_weights": packed(input_GE, compiled, precision),
            "recurrent_weights": packed(recurrent_GH, compiled, precision),
            "bias": bias_G.contiguous(),
            "inputs": compiled.rounded(x_LBE, precision),
            "before": lstm.memory("before", L + 1, B, H, operands=True),
            "states": torch.empty(L, B, H),
            "cells": lstm.memory("cells", L, B, H),
            "gates": lstm.memory("gates", L, B, G),
        }
        ctx.batch = _Batch(precision == "bfloat16", L, B, E, H, **{name: array.data_ptr() for name, array in ctx.arrays.items()})
        compiled.library.forward(ctypes.byref(ctx.batch))
        ctx.lstm = lstm
        ctx.save_for_backward(input_GE, recurrent_GH)
        states: Tensor = ctx.arrays["states"]
        return states

    @staticmethod
    def backward(ctx: Any, state_gradients_LBH: Tensor) -> tuple[Tensor | None, ...]:
        lstm, batch = ctx.lstm, ctx.batch
        input_GE, recurrent_GH = ctx.saved_tensors
        L, B, E, G = batch.L, batch.B, batch.E, 4 * batch.H
        arrays = {
            "backward_weights": packed_backward(input_GE, recurrent_GH, lstm.compiled, lstm.precision),
            "state_gradients": state_gradients_LBH.contiguous(),
            "gate_gradients": lstm.memory("gate_gradients", L, B, G, operands=True),
            "input_gradients": torch.empty(L, B, E),
            "bias_gradients": torch.empty(G),
        }
        for name, array in arrays.items():
            setattr(batch, name, array.data_ptr())
        if lstm.compiled.library.backward(ctypes.byref(batch)):
            raise MemoryError("no memory for the gradients of a batch")
        gate_gradients_GN = arrays["gate_gradients"].flatten(0, 1).T
        input_gradient_GE = (gate_gradients_GN @ ctx.arrays["inputs"].flatten(0, 1)).float()
        recurrent_gradient_GH = (gate_gradients_GN @ ctx.arrays["before"][:-1].flatten(0, 1)).float()
        return arrays["input_gradients"], input_gradient_GE, recurrent_gradient_GH, arrays["bias_gradients"], None, None
