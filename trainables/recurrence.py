"""The kernel's LSTM as a differentiable function: the states of a training batch, and backpropagation through time.

``lstm.c`` computes what runs along the sequence, forward and backward, and keeps what the gradients need. The gradients of the weights do
not run along it: they are one matrix product over the whole batch afterwards, which is torch's.
"""

import ctypes
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainables.classifier import Weights
from trainables.kernel import Kernel, kernel_gates, packed, packed_backward, whole_lanes
from trainables.spec import Precision

SIZES = ("precision", "L", "B", "E", "H")
ARRAYS = (
    "lengths", "weights", "backward_weights", "bias", "operands", "states", "cells", "gates", "state_gradients", "gate_gradients",
    "input_gradients", "bias_gradients",
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
        self.batches = 0
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
        gates_GK = torch.cat([whole_lanes(kernel_gates(weights[name], compiled), compiled) for name in ("input", "recurrent")], dim=1)
        states: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
            whole_lanes(x_LBE, compiled), gates_GK, bias_G, lengths_B.int(), self
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
    def forward(ctx: Any, x_LBE: Tensor, gates_GK: Tensor, bias_G: Tensor, lengths_B: Tensor, lstm: CompiledLstm) -> Tensor:
        (L, B, E), (G, K) = x_LBE.shape, gates_GK.shape
        lstm.batches += 1
        operands_LBK = lstm.memory("operands", L + 1, B, K, operands=True)
        operands_LBK[:-1, :, :E] = lstm.compiled.rounded(x_LBE, lstm.precision)
        ctx.arrays = {
            "lengths": lengths_B,
            "weights": packed(gates_GK, lstm.compiled, lstm.precision),
            "bias": bias_G.contiguous(),
            "operands": operands_LBK,
            "states": torch.empty(L, B, K - E),
            "cells": lstm.memory("cells", L, B, K - E),
            "gates": lstm.memory("gates", L, B, G),
        }
        addresses = {name: array.data_ptr() for name, array in ctx.arrays.items()}
        ctx.batch = _Batch(lstm.precision == "bfloat16", L, B, E, K - E, **addresses)
        lstm.compiled.library.forward(ctypes.byref(ctx.batch))
        ctx.lstm, ctx.number = lstm, lstm.batches
        ctx.save_for_backward(gates_GK)
        states: Tensor = ctx.arrays["states"]
        return states.detach()  # another object: a graph that holds its own output is not freed at once

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, state_gradients_LBH: Tensor) -> tuple[Tensor | None, ...]:
        lstm, batch = ctx.lstm, ctx.batch
        if ctx.number != lstm.batches:
            raise RuntimeError("another batch has used this LSTM's memory: go backward before the next batch goes forward")
        (gates_GK,) = ctx.saved_tensors
        arrays = {
            "backward_weights": packed_backward(gates_GK, lstm.compiled, lstm.precision),
            "state_gradients": state_gradients_LBH.contiguous(),
            "gate_gradients": lstm.memory("gate_gradients", batch.L, batch.B, len(gates_GK), operands=True),
            "input_gradients": torch.empty(batch.L, batch.B, batch.E),
            "bias_gradients": torch.empty(len(gates_GK)),
        }
        for name, array in arrays.items():
            setattr(batch, name, array.data_ptr())
        if lstm.compiled.library.backward(ctypes.byref(batch)):
            raise MemoryError("no memory for the gradients of a batch")
        gradient_KG = ctx.arrays["operands"][:-1].flatten(0, 1).T @ arrays["gate_gradients"].flatten(0, 1)
        return arrays["input_gradients"], gradient_KG.T.float(), arrays["bias_gradients"], None, None
