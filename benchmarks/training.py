"""``python -m benchmarks.training``: real tokens per second of training, with dropout at all four sites and the prior term.

    plain            what is usually written: nn.Embedding, nn.LSTM, mean over tokens, nn.Linear; no dropout, no prior; Adam (fused) and
                     clipping as here; float32
    torch            `trainables.training.fit` with torch's fused LSTM
    compiled         the same with the compiled kernel: what a trajectory does

all on the very same batches of 32 (in buckets of like length: in batches as they come the plain loop would also compute its padding), of
invented reviews as long as the IMDB reviews are (first 200 tokens). Variants run in turn; ratios are medians of those within a turn.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.mc_scoring import spec_of
from benchmarks.reviews import VOCABULARY, invented_reviews, seconds_in_turn
from trainables.corpus import Reviews
from trainables.execution import make_deterministic
from trainables.lstm import Lstm
from trainables.spec import Execution, Precision, TrajectorySpec
from trainables.training import batches, fit

LABELLED = 2_000


def plain_fit(spec: TrajectorySpec, reviews: Reviews) -> None:
    """The usual loop, on the batches of `fit`."""
    embedding = torch.nn.Embedding(VOCABULARY + 2, spec.embedding_dim)
    lstm = torch.nn.LSTM(spec.embedding_dim, spec.hidden_dim, batch_first=True)
    output = torch.nn.Linear(spec.hidden_dim, 2)
    parameters = [*embedding.parameters(), *lstm.parameters(), *output.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=spec.learning_rate, fused=True)
    for rows in batches(spec, reviews.lengths_N, np.arange(len(reviews)), spec.min_steps, 0):
        lengths = torch.from_numpy(reviews.lengths_N[rows])
        ids = torch.from_numpy(reviews.token_ids_NL[rows, : int(lengths.max())])
        states, _ = lstm(embedding(ids))
        real = (torch.arange(ids.shape[1]) < lengths[:, None])[:, :, None]
        logits = output((states * real).sum(dim=1) / lengths[:, None])
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(reviews.labels_N[rows].astype(np.int64)))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, spec.gradient_clip)
        optimizer.step()


def measure(hidden_dim: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each variant at one width."""
    reviews, rows_N = invented_reviews(LABELLED, 200), np.arange(LABELLED)
    base = replace(spec_of(hidden_dim, "float32"), min_steps=steps, epochs=1e-9)
    start = Lstm(base, Execution()).initial_weights(VOCABULARY + 2, 2, 0)

    def ours(precision: Precision, compiled: bool) -> Callable[[], object]:
        spec, execution = replace(base, precision=precision), Execution(compiled=compiled)
        return lambda: fit(Lstm(spec, execution), reviews, rows_N, start, 0)

    variants: dict[str, Callable[[], object]] = {"plain float32": lambda: plain_fit(base, reviews)}
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        variants |= {f"torch {precision}": ours(precision, False), f"compiled {precision}": ours(precision, True)}
    seconds = {name: np.array(times) for name, times in seconds_in_turn(variants, repeats).items()}
    tokens = sum(int(reviews.lengths_N[rows].sum()) for rows in batches(base, reviews.lengths_N, rows_N, steps, 0))
    return [
        {
            "hidden_dim": hidden_dim,
            "variant": name.split()[0],
            "precision": name.split()[1],
            "tokens_per_second": float(np.median(tokens / seconds[name])),
            "speed_over_plain": float(np.median(seconds["plain float32"] / seconds[name])),
        }
        for name in variants
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hidden-dim", type=int, nargs="+", default=[64, 128], help="widths (default: 64 128)")
    parser.add_argument("--steps", type=int, default=100, help="gradient steps of a fit")
    parser.add_argument("--repeats", type=int, default=5, help="turns of all variants, after one that is not counted")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the rows here too")
    options = parser.parse_args()
    make_deterministic(Execution())
    rows = [row for hidden_dim in options.hidden_dim for row in measure(hidden_dim, options.steps, options.repeats)]
    table = Table("hidden", "variant", "precision", "million tokens/s", "times the plain loop", box=None)
    for row in rows:
        numbers = (f"{row['tokens_per_second'] / 1e6:.3f}", f"{row['speed_over_plain']:.2f}")
        table.add_row(str(row["hidden_dim"]), row["variant"], row["precision"], *numbers)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
