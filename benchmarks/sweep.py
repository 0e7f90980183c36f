"""``python -m benchmarks.sweep``: what a study costs beside the computing of its trajectories.

Everything goes through the real planner and runner on a Ray that is up already, with the ledgers on local disk. What is measured:

    busy      N trajectories of about S seconds, on all cores:   core time inside rounds / (cores x wall time of the run)
    overhead  studies of tiny trajectories (two rounds of two gradient steps):
                  (wall time - time inside rounds / cores) / trials, and the most memory that the driver ever held, imports and all
    planning  time and memory of planning a large study, in a process of its own (``benchmarks.planning``)

The wall time of a run has the start of the worker processes (imports, mostly) in it, and the wait for the last trial at its end.
``--only`` chooses parts. `benchmarks.startup` measures what comes before the first trial.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.planning import peak_mib
from sweep.cluster import ray_cluster
from sweep.lease import held
from sweep.plan import make_plan
from sweep.progress import Progress
from sweep.runner import context_of, run
from sweep.study import Study
from trainables.corpus import Corpus, encode
from trainables.node import TRAJECTORIES
from trainables.sources.synthetic import SyntheticSource
from trainables.storage import LocalStorage

SECONDS = ("train_seconds", "score_seconds", "evaluate_seconds")
TRIAL_STEPS = 200
"""Gradient steps a round of the trajectories that the longer ones are scaled from."""


def tiny_study(trials: int) -> Study:
    """As many trajectories as asked for, each of two rounds and almost no computing."""
    return Study.model_validate(
        {
            "study": f"tiny-{trials}",
            "data": {"source": "synthetic", "train_size": 60, "test_size": 20},
            "model": {"embedding_dim": 4, "hidden_dim": 4},
            "training": {"batch_size": 4, "min_steps": 2, "epochs": 0.1},
            "protocol": {"label_budgets": [4, 6], "eval_mc_budgets": "none"},
            "grid": {"seeds": trials, "acquisition": "random", "dropout_rate": 0.25},
            "baseline": {"full_data": False},
        }
    )


def busy_study(name: str, trials: int, min_steps: int) -> Study:
    """As many trajectories as asked for, of five rounds whose gradient steps set how long they take."""
    return Study.model_validate(
        {
            "study": name,
            "data": {"source": "synthetic", "train_size": 60, "test_size": 20},
            "model": {"embedding_dim": 32, "hidden_dim": 32},
            "training": {"batch_size": 16, "min_steps": min_steps, "epochs": 0.1},
            "protocol": {"label_budgets": [10, 15, 20, 25, 30], "eval_mc_budgets": "last"},
            "grid": {"seeds": trials, "acquisition": "entropy", "dropout_rate": 0.25},
            "baseline": {"full_data": False},
        }
    )


def run_study(study: Study, corpus: Corpus, folder: Path) -> tuple[float, float]:
    """Wall seconds of running a whole study, and the seconds inside its rounds."""
    plan = make_plan(study, corpus)
    context = context_of(str(folder / study.study), study.resources, "benchmark")
    progress = Progress(Console(quiet=True), plan.specs, plan.costs, {})
    began = time.perf_counter()
    with held(LocalStorage(folder / study.study), "benchmark"):
        run(list(plan.specs.values()), corpus, study.resources, context, progress)
    wall_seconds = time.perf_counter() - began
    sealed = [pq.read_table(path) for path in folder.glob(f"{study.study}/{TRAJECTORIES}/*/trajectory.parquet")]
    if len(sealed) != len(plan.specs):
        raise RuntimeError(f"{len(sealed)} of {len(plan.specs)} trajectories were finished")
    return wall_seconds, sum(sum(table[name].to_pylist()) for table in sealed for name in SECONDS)


def overhead(trials: int, corpus: Corpus, cores: float, folder: Path) -> dict[str, Any]:
    """Run so many tiny trials and say what each cost."""
    wall_seconds, inside_seconds = run_study(tiny_study(trials), corpus, folder)
    return {
        "trials": trials,
        "wall_seconds": wall_seconds,
        "inside_seconds": inside_seconds,
        "overhead_seconds": (wall_seconds - inside_seconds / cores) / trials,
        "driver_mib": peak_mib(),
    }


def busy(trials: int, seconds: float, corpus: Corpus, cores: float, folder: Path) -> dict[str, Any]:
    """Run so many trajectories of about so many seconds, and say for what share of the cores' time they computed."""
    at_once = int(cores)
    _, inside_seconds = run_study(busy_study("calibration", at_once, TRIAL_STEPS), corpus, folder)
    min_steps = max(1, round(TRIAL_STEPS * seconds * at_once / inside_seconds))
    wall_seconds, inside_seconds = run_study(busy_study("busy", trials, min_steps), corpus, folder)
    return {
        "busy_trials": trials,
        "wall_seconds": wall_seconds,
        "trajectory_seconds": inside_seconds / trials,
        "busy_share": inside_seconds / (cores * wall_seconds),
    }


def planning(cells: int) -> dict[str, Any]:
    """What it takes to plan so many cells."""
    command = [sys.executable, "-m", "benchmarks.planning", str(cells)]
    row: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return row


def show(rows: list[dict[str, Any]]) -> None:
    """A table for each kind of row."""
    kinds = {tuple(row): [other for other in rows if tuple(other) == tuple(row)] for row in rows}
    for names, alike in kinds.items():
        table = Table(*(name.replace("_", " ") for name in names), box=None)
        for row in alike:
            table.add_row(*(f"{value:,}" if isinstance(value, int) else f"{value:,.3f}" for value in row.values()))
        Console().print(table)


def rows_of(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What was asked for, part by part."""
    corpus = encode("synthetic", SyntheticSource(60, 20, 2, 0).read(), max_tokens=60, vocabulary_size=10_000)
    on_ray: list[Callable[[float, Path], dict[str, Any]]] = []
    if "busy" in options.only:
        on_ray.append(partial(busy, options.busy, options.seconds, corpus))
    if "overhead" in options.only:
        on_ray += [partial(overhead, trials, corpus) for trials in sorted(options.trials)]
    if on_ray:
        with tempfile.TemporaryDirectory() as folder, ray_cluster(None) as resources:
            for part in on_ray:
                yield part(resources["CPU"], Path(folder))
    if "planning" in options.only:
        yield planning(options.cells)


def main() -> None:
    """Measure and print."""
    parts = ("busy", "overhead", "planning")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, metavar="PART", help=f"of {', '.join(parts)} (default: all)")
    parser.add_argument("--busy", type=int, default=40, metavar="N", help="trajectories of the busy study (default: 40)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="that each of them takes, about (default: 10)")
    parser.add_argument("--trials", type=int, nargs="+", default=[20, 300, 3000], metavar="N", help="sizes (default: 20 300 3000)")
    parser.add_argument("--cells", type=int, default=100_000, metavar="N", help="to plan (default: 100000)")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the rows here too")
    options = parser.parse_args()
    rows = list(rows_of(options))
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
