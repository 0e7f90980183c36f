"""One pass of the LSTM: the class log-probabilities of many reviews under one network.

Two engines compute a pass. On a CPU it is the kernel of ``lstm.c``: the vocabulary is projected once per network
(nothing that can be known beforehand is computed per token), reviews run longest first without padding, and a review's result is the
same, bit for bit, whatever is computed beside it. On a GPU, and where there is no C compiler, it is torch's fused LSTM over
batches of reviews of like length; there a review's neighbours can change its last bits.

The precision is a field of the science. float32: everything. bfloat16: weights and states are rounded to bfloat16 where they enter the
recurrent product, whose sums are float32; torch's engine also rounds embeddings, biases and cells. Pooling is float32 in both, the
softmax float64.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import Rows
from trainables.classifier import Weights, batch_of
from trainables.corpus import Reviews
from trainables.kernel import Kernel, kernel, kernel_gates, packed, whole_lanes
from trainables.model import output_logits, pooled_states, torch_lstm
from trainables.spec import Execution, TrajectorySpec


def compiled_kernel(execution: Execution) -> Kernel | None:
    """The kernel, if it computes here; None: torch does."""
    return kernel() if execution.compiled and execution.device == "cpu" else None


def engine(spec: TrajectorySpec, execution: Execution) -> "CompiledEngine | TorchEngine":
    """What computes passes here."""
    compiled = compiled_kernel(execution)
    return TorchEngine(spec, execution) if compiled is None else CompiledEngine(spec, execution, compiled)


class CompiledEngine:
    """By the kernel; threads share the reviews out among themselves; what one pass allocates serves the next."""

    def __init__(self, spec: TrajectorySpec, execution: Execution, compiled: Kernel) -> None:
        """Nothing is computed yet."""
        self._spec = spec
        self._threads = execution.threads
        self._kernel = compiled
        self._table_VG = torch.empty(0)
        self._checked: Reviews | None = None

    def pooled_states(self, network: Weights, reviews: Reviews, rows_N: Rows) -> Tensor:
        """(N, H): all of a pass but its output layer."""
        spec = self._spec
        if reviews is not self._checked and len(reviews) and int(reviews.token_ids_NL.max()) >= len(network["embedding"]):
            raise IndexError(f"token id {reviews.token_ids_NL.max()} in a vocabulary of {len(network['embedding'])}")
        self._checked = reviews
        recurrent_GH = whole_lanes(kernel_gates(network["recurrent"], self._kernel), self._kernel)
        table_VG, weights = self._project(network), packed(recurrent_GH, self._kernel, spec.precision)
        longest_first_N = np.argsort(-reviews.lengths_N[rows_N], kind="stable")
        pooled_NH = np.empty((len(rows_N), spec.hidden_dim), dtype=np.float32)

        def compute(positions: Rows) -> None:
            pooled = self._kernel.pooled_states(
                table_VG, weights, reviews, rows_N[positions], precision=spec.precision, pooling=spec.pooling
            )
            pooled_NH[positions] = pooled[:, : spec.hidden_dim]

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(compute, [longest_first_N[part :: self._threads] for part in range(self._threads)]))
        return torch.from_numpy(pooled_NH)

    def logits(self, network: Weights, pooled_NH: Tensor) -> Tensor:
        """(N, C): the output layer."""
        output_CH, bias_C = network["output"].double().numpy(), network["output_bias"].double().numpy()
        # einsum sums each product by itself; a matrix product's last bits would depend on the number of reviews
        return torch.from_numpy(np.einsum("nh,ch->nc", pooled_NH.double().numpy(), output_CH) + bias_C)

    def _project(self, network: Weights) -> Tensor:
        """What each word type adds to the gates, (V, 4 x padded H): a token's part is then looked up."""
        bias_G = kernel_gates(network["input_bias"] + network["recurrent_bias"], self._kernel)
        input_GE = kernel_gates(network["input"], self._kernel)
        self._table_VG = torch.addmm(bias_G, network["embedding"], input_GE.T, out=self._table_VG)
        return self._table_VG


class TorchEngine:
    """By torch's fused LSTM, `scoring_batch` reviews of like length at a time."""

    def __init__(self, spec: TrajectorySpec, execution: Execution) -> None:
        """Nothing is computed yet."""
        self._spec = spec
        self._execution = execution

    def pooled_states(self, network: Weights, reviews: Reviews, rows_N: Rows) -> Tensor:
        """(N, H): all of a pass but its output layer."""
        spec, device, batch = self._spec, self._execution.device, self._execution.scoring_batch
        lstm = partial(torch_lstm, precision=spec.precision)
        order_N = np.argsort(reviews.lengths_N[rows_N], kind="stable")
        pooled_NH = network["output"].new_empty(len(rows_N), spec.hidden_dim)
        for start in range(0, len(rows_N), batch):
            positions_B = order_N[start : start + batch]
            those = batch_of(reviews, rows_N[positions_B], device)
            pooled_BH = pooled_states(network, those.token_ids_BL, those.lengths_B, spec.pooling, lstm=lstm)
            pooled_NH[torch.from_numpy(positions_B).to(device)] = pooled_BH
        return pooled_NH

    def logits(self, network: Weights, pooled_NH: Tensor) -> Tensor:
        """(N, C): the output layer."""
        return output_logits(network, pooled_NH)
