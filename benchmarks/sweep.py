"""``python -m benchmarks.sweep``: what Ray Tune and the ledger cost per trial, beside the computing itself.

Runs studies of tiny trajectories (two rounds of two gradient steps) through the real runner, with the ledger on local disk, and
compares the wall time with the seconds that were spent inside rounds:

    overhead per trial = (wall seconds - seconds inside rounds / cores) / trials

The wall time is that of the whole run on a Ray that is up already, so the start of the worker processes (imports, mostly) is in it. The
driver's memory is the most that it ever held, imports and all.

With ``--planned 20000`` it also gives the command for a study of that many trajectories, and measures how long it takes from the
command to the first trial: planning, writing the plan, starting Ray.
"""

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.table import Table

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


def measure(trials: int, corpus: Corpus, cores: float, folder: Path) -> dict[str, Any]:
    """Run a study of so many trials and say what it cost."""
    study = tiny_study(trials)
    plan = make_plan(study, corpus)
    context = context_of(str(folder / study.study), study.resources, "benchmark")
    progress = Progress(Console(quiet=True), plan.specs, plan.costs, {})
    began = time.perf_counter()
    with held(LocalStorage(folder / study.study), "benchmark"):
        run(list(plan.specs.values()), corpus, study.resources, context, progress)
    wall_seconds = time.perf_counter() - began
    sealed = [pq.read_table(path) for path in folder.glob(f"{study.study}/{TRAJECTORIES}/*/trajectory.parquet")]
    if len(sealed) != trials:
        raise RuntimeError(f"{len(sealed)} of {trials} trajectories were finished")
    inside_seconds = sum(sum(table[name].to_pylist()) for table in sealed for name in SECONDS)
    overhead_seconds = (wall_seconds - inside_seconds / cores) / trials
    return {
        "trials": trials,
        "wall_seconds": wall_seconds,
        "inside_seconds": inside_seconds,
        "overhead_seconds": overhead_seconds,
        "driver_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def seconds_to_first_trial(planned: int, folder: Path) -> float:
    """From the command to the first trial's attempt in the ledger, for a study of so many trajectories; then it is stopped."""
    study = tiny_study(planned)
    (folder / "study.yaml").write_text(yaml.safe_dump(study.resolved()))
    command = [sys.executable, "-m", "sweep.launch", str(folder / "study.yaml"), "--storage", str(folder), "--no-report"]
    began = time.perf_counter()
    launch = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while next(folder.glob(f"{study.study}/{TRAJECTORIES}/*/attempts"), None) is None:
        if launch.poll() is not None:
            raise RuntimeError(f"the launch ended with {launch.returncode}")
        time.sleep(0.05)
    seconds = time.perf_counter() - began
    launch.send_signal(signal.SIGTERM)
    launch.wait()
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[20, 300], help="sizes of the studies (default: 20 300)")
    parser.add_argument("--planned", type=int, metavar="N", help="also time the first trial of a study of N trajectories")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the rows here too")
    options = parser.parse_args()
    corpus = encode("synthetic", SyntheticSource(60, 20, 2, 0).read(), max_tokens=60, vocabulary_size=10_000)
    with tempfile.TemporaryDirectory() as folder, ray_cluster(None) as resources:
        rows = [measure(trials, corpus, resources["CPU"], Path(folder)) for trials in options.trials]
    table = Table("trials", "wall s", "inside rounds s", "overhead s/trial", "driver MiB", box=None)
    for row in rows:
        numbers = (f"{row[name]:.3f}" for name in ("wall_seconds", "inside_seconds", "overhead_seconds"))
        table.add_row(str(row["trials"]), *numbers, f"{row['driver_mib']:.0f}")
    Console().print(table)
    if options.planned:
        with tempfile.TemporaryDirectory() as folder:
            seconds = seconds_to_first_trial(options.planned, Path(folder))
        Console().print(f"{options.planned:,} trajectories planned: first trial {seconds:.1f} s after the command")
        rows.append({"planned": options.planned, "first_trial_seconds": seconds})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
