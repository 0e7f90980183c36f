"""The compiled LSTM of ``lstm.c`` in this process, and how it wants its weights.

Why C: the fused LSTM of torch projects every token, though there are far fewer word types than tokens, pads every batch to its longest
review, and reorders its weights for each batch. Written out, passes are twice as fast (docs/performance.md).
Where it cannot be built (``build.py``), torch computes the same networks, slower; which of the two it was stands in the record of each
attempt.
"""

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import Floats32, Rows
from trainables.build import NoKernelError, load_library
from trainables.corpus import Reviews
from trainables.spec import Pooling, Precision

GATE_SCALES = (-1.0, -1.0, -2.0, -1.0)
"""What the kernel wants its gates (input, forget, cell, output) multiplied by, times log2(e): it computes powers of two."""

POOLINGS: tuple[Pooling, ...] = ("mean", "last", "max")
"""In the order of the kernel's enumeration."""


@dataclass(frozen=True)
class Kernel:
    """The loaded library and what it was built for."""

    library: ctypes.CDLL
    build: str
    """Hash of source, compiler, flags and processor: equal builds compute equal bits."""
    lanes: int
    """float32 numbers in a vector register: units are computed, and weights laid out, so many at a time."""
    native_bfloat16: bool
    """Whether weights and states enter the products as bfloat16; else as float32 numbers rounded to it."""

    def __str__(self) -> str:
        """As a trajectory's attempts record it."""
        return f"compiled {self.build}, {self.lanes} lanes{', bfloat16' * self.native_bfloat16}"

    def padded(self, hidden_dim: int) -> int:
        """Units that the kernel computes: a whole number of lanes."""
        return -(-hidden_dim // self.lanes) * self.lanes

    def operand_type(self, precision: Precision) -> torch.dtype:
        """Of the numbers that enter a product."""
        return torch.bfloat16 if precision == "bfloat16" and self.native_bfloat16 else torch.float32

    def rounded(self, x: Tensor, precision: Precision) -> Tensor:
        """`x` as it enters a product: contiguous, of `operand_type`."""
        values = x.bfloat16() if precision == "bfloat16" else x
        return values.to(self.operand_type(precision)).contiguous()

    def pooled_states(
        self, table_VG: Tensor, weights: Tensor, reviews: Reviews, longest_first_N: Rows, *, precision: Precision, pooling: Pooling
    ) -> Floats32:
        """Pooled states (N, padded H) of the given reviews.

        Args:
            table_VG: what each word type adds to the gates, float32, as `kernel_gates` orders them.
            weights: the recurrent ones, `packed` for the same precision.
            reviews: whose token ids are rows of the table.
            longest_first_N: rows of `reviews`, in falling order of length.
            precision: of the recurrent product.
            pooling: of each review's states.

        Raises:
            MemoryError: the working memory, well under a megabyte, could not be had.
        """
        units = table_VG.shape[1] // 4
        pooled_NH = np.empty((len(longest_first_N), units), dtype=np.float32)
        rows_N = np.ascontiguousarray(longest_first_N, dtype=np.int64)
        token_ids_NL, lengths_N = (np.ascontiguousarray(array, dtype=np.int32) for array in (reviews.token_ids_NL, reviews.lengths_N))
        addresses = (array.ctypes.data for array in (rows_N, token_ids_NL, lengths_N, pooled_NH))
        rows, token_ids, lengths, pooled = map(ctypes.c_void_p, addresses)
        failed = self.library.pooled_states(
            ctypes.c_int(precision == "bfloat16"),
            ctypes.c_int(POOLINGS.index(pooling)),
            ctypes.c_int64(units),
            ctypes.c_void_p(table_VG.data_ptr()),
            ctypes.c_void_p(weights.data_ptr()),
            ctypes.c_int64(len(rows_N)),
            rows,
            token_ids,
            ctypes.c_int64(token_ids_NL.shape[1]),
            lengths,
            pooled,
        )
        if failed:
            raise MemoryError("no memory for the states of a block of reviews")
        return pooled_NH


@cache
def kernel() -> Kernel | None:
    """The kernel of this process; None where it cannot be built."""
    try:
        library, build = load_library()
    except NoKernelError:
        return None
    return Kernel(library, build, library.lanes(), bool(library.native_bfloat16()))


def kernel_gates(gates_4HK: Tensor, compiled: Kernel) -> Tensor:
    """Rows of a weight matrix or bias (4H, ...) in the kernel's order and scale, (4 x padded H, ...); differentiable.

    torch has (gate, unit), the kernel (groups of units, gate, lane). Units that pad to whole lanes are zero.
    """
    others = gates_4HK.shape[1:]
    by_gate = gates_4HK.reshape(4, len(gates_4HK) // 4, -1)
    missing = compiled.padded(by_gate.shape[1]) - by_gate.shape[1]
    if missing:
        by_gate = torch.nn.functional.pad(by_gate, (0, 0, 0, missing))
    by_group: Tensor = by_gate.reshape(4, -1, compiled.lanes, by_gate.shape[2]).transpose(0, 1) * _SCALE_41K
    return by_group.reshape(-1, *others)


_SCALE_41K: Tensor = (torch.tensor(GATE_SCALES, dtype=torch.float64) * np.log2(np.e)).float()[:, None, None]


def whole_lanes(x: Tensor, compiled: Kernel) -> Tensor:
    """`x` with its last axis filled up with zeros to a whole number of lanes."""
    missing = compiled.padded(x.shape[-1]) - x.shape[-1]
    return torch.nn.functional.pad(x, (0, missing)) if missing else x


def packed(gates_GK: Tensor, compiled: Kernel, precision: Precision) -> Tensor:
    """Weights (4 x padded H, K), as `kernel_gates` orders them, as a product reads them.

    Returns:
        (groups, K, 4, lanes), or (groups, K/2, 4, lanes, 2) in native bfloat16.
    """
    K, lanes = gates_GK.shape[1], compiled.lanes
    rounded = compiled.rounded(gates_GK, precision)
    if rounded.dtype == torch.bfloat16:
        return rounded.reshape(-1, 4, lanes, K // 2, 2).permute(0, 3, 1, 2, 4).contiguous()
    return rounded.reshape(-1, 4, lanes, K).permute(0, 3, 1, 2).contiguous()


def packed_backward(gates_GK: Tensor, compiled: Kernel, precision: Precision) -> Tensor:
    """The same weights for the product that goes back to the operands: columns as rows, filled up to whole groups of 4 x lanes."""
    missing = -gates_GK.shape[1] % (4 * compiled.lanes)
    return packed(torch.nn.functional.pad(gates_GK.T, (0, 0, 0, missing)), compiled, precision)
