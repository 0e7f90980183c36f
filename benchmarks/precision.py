"""``python -m benchmarks.precision``: what bfloat16 changes in the science, beside what it saves.

Picks. One network is trained in float32; the pool is then scored by the very same network in float32 and in bfloat16, and the two batches
of picks are compared, for each acquisition function. How much of that is bfloat16's own doing is seen beside it: in float32 by torch,
which adds the same numbers in another order.

Accuracy. Whole trajectories, trained, scored and evaluated in either precision, paired by seed. Training amplifies any rounding until the
networks are as different as two draws of the same recipe, so what counts is the mean difference over seeds with its standard error, not
whether single trajectories agree.

Reviews are those of IMDB_PATH, else generated ones.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.reviews import corpus, specs
from trainables.acquisition import ACQUISITIONS, select
from trainables.arrays import Floats, Rows
from trainables.classifier import Weights
from trainables.corpus import Corpus
from trainables.execution import make_deterministic
from trainables.lstm import Lstm
from trainables.mc_dropout import Distributions
from trainables.spec import Execution, Precision, TrajectorySpec
from trainables.streams import REVIEW_KEYS, stream
from trainables.training import fit
from trainables.trajectory import initial_set, pool_subsample, rounds

VARIANTS: dict[str, tuple[Precision, bool]] = {
    "bfloat16": ("bfloat16", True),
    "bfloat16 by torch": ("bfloat16", False),
    "float32 by torch": ("float32", False),
}
"""What is compared with float32 by the kernel: precision, and whether the kernel computes."""

ACQUIRED = 200
"""Picks of a round, as in the pilot study."""


def picks(spec: TrajectorySpec, on: Corpus, network: Weights, candidates: Rows, compiled: bool) -> dict[str, Rows]:
    """What each acquisition function would acquire."""
    execution = Execution(compiled=compiled)
    read: dict[str, Floats] = {
        "deterministic": Distributions(Lstm(spec, execution), network, on.train, candidates).deterministic()[:, None],
        "mc": Distributions(Lstm(spec, execution), network, on.train, candidates).stacked(spec.mc_passes or 1, 0),
    }
    keys = stream(spec.seed, REVIEW_KEYS, 0).random(len(on.train))[candidates]
    functions = {name: function for name, function in ACQUISITIONS.items() if function.prediction != "none" and not function.needs}
    return {name: candidates[select(function.score(read[function.prediction]), keys, ACQUIRED)] for name, function in functions.items()}


def differing_picks(spec: TrajectorySpec, on: Corpus) -> Iterator[dict[str, Any]]:
    """A row for each acquisition function and variant: the share of picks that float32 would not have made."""
    labelled = initial_set(spec, len(on.train))
    classifier = Lstm(spec, Execution())
    start = classifier.initial_weights(on.num_embeddings, len(on.class_names), 0)
    network = fit(classifier, on.train, labelled, start, 0).weights
    candidates = pool_subsample(spec, len(on.train), labelled, ACQUIRED, 0)
    expected = picks(spec, on, network, candidates, compiled=True)
    for variant, (precision, compiled) in VARIANTS.items():
        found = picks(replace(spec, precision=precision), on, network, candidates, compiled)
        for name, rows in found.items():
            share = len(np.setdiff1d(rows, expected[name])) / len(rows)
            yield {"seed": spec.seed, "labels": len(labelled), "variant": variant, "acquisition": name, "differing": share}


def print_picks(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Mean share of differing picks, by acquisition function."""
    table = Table("picks that differ", *VARIANTS, box=None)
    for name in dict.fromkeys(row["acquisition"] for row in rows):
        means = (
            np.mean([row["differing"] for row in rows if (row["acquisition"], row["variant"]) == (name, variant)]) for variant in VARIANTS
        )
        table.add_row(name, *(f"{100 * mean:.1f}%" for mean in means))
    console.print(table)


def accuracies(spec: TrajectorySpec, on: Corpus) -> dict[str, Any]:
    """A row: mean accuracy over the rounds, accuracy of the last, and seconds, of a trajectory in either precision."""
    row: dict[str, Any] = {"seed": spec.seed, "acquisition": spec.acquisition}
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        began = time.process_time()
        done = [one.row.accuracy_deterministic for one in rounds(replace(spec, precision=precision), on, [], Execution())]
        row |= {f"mean_{precision}": float(np.mean(done)), f"last_{precision}": done[-1]}
        row |= {f"cpu_seconds_{precision}": time.process_time() - began}
    return row


def print_accuracies(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Paired differences with their standard errors, in points of accuracy, and the saving."""
    table = Table(
        "acquisition", "seeds", "mean float32", "bfloat16 - float32", "last float32", "bfloat16 - float32", "times faster", box=None
    )
    for name in dict.fromkeys(row["acquisition"] for row in rows):
        ours = [row for row in rows if row["acquisition"] == name]
        cells = []
        for what in ("mean", "last"):
            gaps = np.array([row[f"{what}_bfloat16"] - row[f"{what}_float32"] for row in ours])
            error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else np.nan
            cells += [f"{np.mean([row[f'{what}_float32'] for row in ours]):.4f}", f"{100 * gaps.mean():+.2f} +- {100 * error:.2f}"]
        faster = np.median([row["cpu_seconds_float32"] / row["cpu_seconds_bfloat16"] for row in ours])
        table.add_row(name, str(len(ours)), *cells, f"{faster:.2f}")
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4, help="networks for the picks at each number of labels, and trajectories an arm")
    parser.add_argument("--labels", type=int, nargs="+", default=[200, 1_000, 2_000], help="at which picks are compared")
    parser.add_argument("--arms", nargs="*", default=["random", "entropy", "bald"], help="arms whose trajectories are compared")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the rows here too")
    options = parser.parse_args()
    make_deterministic(Execution())
    console, (data, on) = Console(), corpus()
    seeds = {"seeds": options.seeds, "mc_passes": 20}
    compared = [
        row
        for labels in options.labels
        for spec in specs(data, on, grid=seeds, protocol={"label_budgets": [labels, labels + ACQUIRED]}, model={"precision": "float32"})
        for row in differing_picks(spec, on)
    ]
    print_picks(compared, console)
    protocol = {"label_budgets": {"start": 200, "stop": 2_000, "step": 200}}
    arms = specs(data, on, grid=seeds | {"acquisition": options.arms, "mc_passes": 10}, protocol=protocol) if options.arms else []
    trajectories = [accuracies(spec, on) for spec in arms]
    if trajectories:
        print_accuracies(trajectories, console)
    if options.json:
        options.json.write_text(json.dumps({"picks": compared, "trajectories": trajectories}, indent=1))


if __name__ == "__main__":
    main()
