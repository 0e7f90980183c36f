"""``python -m benchmarks.report``: what it takes to read a large study and to answer its questions.

Seals trajectories of invented accuracies through the real ledger code, then reads and analyses them in a process of its own, so that
the memory is that of reading and analysing alone:

    read s        from the study's folder to checked rounds
    findings s    from rounds to everything that report.json holds
    peak MiB      of that process

Above 16 seeds the sign flips are drawn, not enumerated: there the findings of the default size take minutes, reading it seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from analysis.findings import findings
from analysis.frames import read_study
from benchmarks.planning import corpus_of, large_study, peak_mib
from sweep.folder import StudyFolder
from sweep.plan import make_plan
from trainables.ledger import SEALED
from trainables.rounds import Row, schema
from trainables.spec import TrajectorySpec
from trainables.storage import LocalStorage

MEASURE = "--measure"
"""Of the process that reads; its folder follows."""


def seal(folder: StudyFolder, spec: TrajectorySpec, rng: np.random.Generator) -> None:
    """One sealed trajectory, with as much acquired in it as a real one has."""
    budgets = spec.label_budgets or (25_000,)
    rows = []
    for number, labels in enumerate(budgets):
        accuracy = 0.86 - 0.25 * (250 / labels) ** 0.5 + rng.normal(0, 0.01)
        measured = dict.fromkeys(("nll_deterministic", "brier_deterministic", "ece_deterministic"), 0.3)
        row = Row(
            trajectory_id=spec.trajectory_id,
            seed=spec.seed,
            acquisition=spec.acquisition,
            dropout_rate=spec.dropout_rate,
            mc_passes=spec.mc_passes,
            round=number,
            num_labelled=labels,
            accuracy_deterministic=accuracy,
            accuracy_mc=accuracy if labels == budgets[-1] else None,
            nll_mc=None,
            brier_mc=None,
            ece_mc=None,
            accuracy_validation=None,
            acquired_class_balance=None,
            acquired_mean_length=None,
            train_loss=0.1,
            train_objective=0.2,
            gradient_steps=300,
            train_seconds=1.0,
            score_seconds=1.0,
            evaluate_seconds=1.0,
            tokens_per_second=1.0,
            device="cpu",
            initial_set_hash=None if spec.label_budgets is None else f"{spec.seed}",
            initial_weights_hash=f"{spec.seed}",
            **measured,
        )
        after = budgets[number + 1] if number + 1 < len(budgets) else labels
        rows.append(asdict(row) | {"acquired": rng.integers(0, 25_000, after - labels).tolist()})
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema()), buffer)
    folder.trajectory(spec.trajectory_id).write(SEALED, buffer.getvalue().to_pybytes())


def measure(place: Path) -> dict[str, Any]:
    """Read and analyse in this process."""
    began = time.perf_counter()
    results = read_study(StudyFolder(LocalStorage(place)))
    read = time.perf_counter()
    findings(results)
    return {"read_seconds": read - began, "findings_seconds": time.perf_counter() - read, "peak_mib": peak_mib()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=176, help="57 trajectories each (default: 176, which is 10,032)")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the row here too")
    parser.add_argument(MEASURE, metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    study, corpus = large_study(options.seeds), corpus_of(25_000)
    plan = make_plan(study, corpus)
    with tempfile.TemporaryDirectory() as place:
        folder = StudyFolder(LocalStorage(Path(place)))
        folder.save(study, plan, corpus)
        rng = np.random.default_rng(0)
        for spec in plan.specs.values():
            seal(folder, spec, rng)
        command = [sys.executable, "-m", "benchmarks.report", MEASURE, place]
        measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    row = {"trajectories": len(plan.specs)} | measured
    table = Table("trajectories", "read s", "findings s", "peak MiB", box=None)
    table.add_row(f"{row['trajectories']:,}", f"{row['read_seconds']:.1f}", f"{row['findings_seconds']:.1f}", f"{row['peak_mib']:,.0f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
