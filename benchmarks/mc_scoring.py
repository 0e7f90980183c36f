"""``python -m benchmarks.mc_scoring``: tokens per second of Monte Carlo dropout passes over a pool, as made here and elsewhere.

    loop             the per-token loop with a mask per sequence that is usually written: batches of 128 in the order of the pool,
                     padded to their longest review, masks drawn anew for each batch, float32
    thinned, torch   one thinned network a pass, torch's fused LSTM, batches of 64 reviews of like length
    thinned          the same networks by the compiled kernel: what a trajectory does

on 2,000 invented reviews whose lengths are distributed as the IMDB reviews' are (first 200 tokens; 42% have that many or more). Only
real tokens count as tokens, and everything that a pass needs as its time, drawing the masks included. Variants run in turn, and ratios
are medians of the ratios within a turn.

fraction_of_peak is the arithmetic of a pass, per second, over that of torch's matrix product of 1,024 x 1,024 in the same precision,
measured in the same turns. The arithmetic is 8 H (E + H) a real token, but for the kernel 8 H H a token and 8 E H a word type, since
it projects the vocabulary and not the tokens. The fraction is above 1 where torch's product is far from the processor's best, as in
float32 on AMD.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.reviews import VOCABULARY, invented_reviews, seconds_in_turn, specs
from trainables.classifier import Weights
from trainables.corpus import Corpus, Reviews
from trainables.execution import make_deterministic
from trainables.lstm import Lstm
from trainables.mc_dropout import Distributions
from trainables.spec import Execution, Precision, TrajectorySpec

LOOP_BATCH = 128
"""The fastest of 32 to 512 for the loop."""

PEAK_SIZE = 1024


def loop_pass(weights: Weights, spec: TrajectorySpec, reviews: Reviews) -> None:
    """One stochastic pass over all reviews, token by token."""
    with torch.inference_mode():
        for start in range(0, len(reviews), LOOP_BATCH):
            lengths = torch.from_numpy(reviews.lengths_N[start : start + LOOP_BATCH])
            ids = torch.from_numpy(reviews.token_ids_NL[start : start + LOOP_BATCH, : int(lengths.max())])
            loop_log_probs(weights, ids, lengths, spec.dropout_rate)


def loop_log_probs(weights: Weights, ids_BL: Tensor, lengths_B: Tensor, rate: float) -> Tensor:
    """(B, C): an LSTM with variational dropout, written as it is on paper."""
    B, H = len(ids_BL), weights["recurrent"].shape[1]

    def mask(*shape: int) -> Tensor:
        return torch.bernoulli(torch.full(shape, 1 - rate)) / (1 - rate)

    word_BV, input_BE, state_BH, output_BH = mask(B, VOCABULARY + 2), mask(B, weights["input"].shape[1]), mask(B, H), mask(B, H)
    x_BLE = weights["embedding"][ids_BL] * torch.gather(word_BV, 1, ids_BL.long())[:, :, None]
    h_BH, c_BH, sum_BH = (torch.zeros(B, H) for _ in range(3))
    for t in range(ids_BL.shape[1]):
        gates = torch.nn.functional.linear(x_BLE[:, t] * input_BE, weights["input"], weights["input_bias"])
        gates = gates + torch.nn.functional.linear(h_BH * state_BH, weights["recurrent"], weights["recurrent_bias"])
        i, f, g, o = gates.chunk(4, dim=1)
        c_BH = torch.sigmoid(f) * c_BH + torch.sigmoid(i) * torch.tanh(g)
        h_BH = torch.sigmoid(o) * torch.tanh(c_BH)
        sum_BH = sum_BH + h_BH * (t < lengths_B)[:, None]
    logits = torch.nn.functional.linear(sum_BH / lengths_B[:, None] * output_BH, weights["output"], weights["output_bias"])
    return torch.log_softmax(logits, dim=1)


def matrix_products(precision: Precision) -> Callable[[], object]:
    """Two products of `PEAK_SIZE`."""
    a, b = (torch.randn(PEAK_SIZE, PEAK_SIZE).to(getattr(torch, precision)) for _ in range(2))
    return lambda: [a @ b for _ in range(2)]


def spec_of(hidden_dim: int, precision: Precision) -> TrajectorySpec:
    """Embeddings of 64, four dropout sites at .25."""
    reviews = invented_reviews(600, 4)
    sections = {"model": {"hidden_dim": hidden_dim, "precision": precision}}
    return specs({"source": "synthetic"}, Corpus("synthetic", reviews, reviews, ("neg", "pos"), VOCABULARY + 2), **sections)[0]


def measure(hidden_dim: int, size: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each variant at one width."""
    reviews, rows = invented_reviews(size, 200), np.arange(size)
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    weights = Lstm(spec_of(hidden_dim, "float32"), Execution()).initial_weights(VOCABULARY + 2, 2, 0)

    def thinned(precision: Precision, compiled: bool) -> Callable[[], object]:
        spec, execution = spec_of(hidden_dim, precision), Execution(compiled=compiled)
        return lambda: Distributions(Lstm(spec, execution), weights, reviews, rows).stacked(2, 0)

    variants: dict[str, Callable[[], object]] = {"loop float32": lambda: loop_pass(weights, spec_of(hidden_dim, "float32"), reviews)}
    for precision in precisions:
        variants |= {f"thinned, torch {precision}": thinned(precision, False), f"thinned {precision}": thinned(precision, True)}
        variants[f"peak {precision}"] = matrix_products(precision)
    seconds = {name: np.array(times) for name, times in seconds_in_turn(variants, repeats).items()}
    E, H, tokens = spec_of(hidden_dim, "float32").embedding_dim, hidden_dim, reviews.num_tokens
    table = []
    for name in (name for name in variants if not name.startswith("peak")):
        variant, _, precision_name = name.rpartition(" ")
        passes = 1 if variant == "loop" else 2
        arithmetic = 8 * H * H * tokens + 8 * E * H * (VOCABULARY + 2) if variant == "thinned" else 8 * H * (E + H) * tokens
        peak = 2 * 2 * PEAK_SIZE**3 / seconds[f"peak {precision_name}"]
        table.append(
            {
                "hidden_dim": hidden_dim,
                "variant": variant,
                "precision": precision_name,
                "tokens_per_second": float(np.median(passes * tokens / seconds[name])),
                "speedup_over_loop": float(np.median(passes * seconds["loop float32"] / seconds[name])),
                "fraction_of_peak": float(np.median(passes * arithmetic / seconds[name] / peak)),
            }
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mc_scoring", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hidden-dim", type=int, nargs="+", default=[64, 128], help="widths (default: 64 128)")
    parser.add_argument("--reviews", type=int, default=2_000, help="in the pool")
    parser.add_argument("--repeats", type=int, default=7, help="turns of all variants, after one that is not counted")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the rows here too")
    options = parser.parse_args()
    make_deterministic(Execution())
    rows = [row for hidden_dim in options.hidden_dim for row in measure(hidden_dim, options.reviews, options.repeats)]
    table = Table("hidden", "variant", "precision", "million tokens/s", "times the loop", "of the peak", box=None)
    for row in rows:
        numbers = (f"{row['tokens_per_second'] / 1e6:.2f}", f"{row['speedup_over_loop']:.1f}", f"{100 * row['fraction_of_peak']:.0f}%")
        table.add_row(str(row["hidden_dim"]), row["variant"], row["precision"], *numbers)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
