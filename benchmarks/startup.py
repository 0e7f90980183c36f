"""``python -m benchmarks.startup``: how long a person waits before the first round, and what for.

    dry run s        ``python -m sweep.launch --dry-run`` of a tiny study
    Ray ready s      from the command to the record of the launch: imports, planning and the start of Ray
    trial begun s    from the command to the attempt of the first trial: a worker process, and torch imported there
    first round s    from the command to the first round in a ledger

Beside them stand the imports that these times contain, each in a process of its own. Medians of a few repetitions, after one that
warms the disk's cache.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.sweep import tiny_study
from trainables.node import TRAJECTORIES

IMPORTS = {"launch": "sweep.launch", "Ray Tune": "ray.tune", "trial": "trainables.tune_trainable, trainables.trajectory"}
"""What the driver imports to plan, what it imports to run, and what a worker imports."""


def import_seconds(modules: str) -> float:
    """Wall time of a process that imports and ends, less that of one that imports nothing."""
    return _wall([sys.executable, "-c", f"import {modules}"]) - _wall([sys.executable, "-c", ""])


def dry_run_seconds(study: Path) -> float:
    """Wall time of planning a study and showing the plan."""
    return _wall([sys.executable, "-m", "sweep.launch", str(study), "--dry-run"])


def _wall(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_round_seconds(study: Path) -> tuple[float, float, float]:
    """From the command until the launch has Ray, until a trial begins, and until a round is finished; then the launch is stopped."""
    marks = ("launches/*.json", f"{TRAJECTORIES}/*/attempts/*.json", f"{TRAJECTORIES}/*/rounds/*.json")
    with tempfile.TemporaryDirectory() as storage:
        began = time.time()
        launch = subprocess.Popen(
            [sys.executable, "-m", "sweep.launch", str(study), "--storage", storage, "--no-report"], stdout=subprocess.DEVNULL
        )
        times = []
        for mark in marks:
            while not (found := [path.stat().st_mtime for path in Path(storage).glob(f"*/{mark}")]):
                if launch.poll() is not None:
                    raise RuntimeError(f"the launch ended with {launch.returncode}")
                time.sleep(0.02)
            times.append(min(found) - began)
        launch.send_signal(signal.SIGTERM)
        launch.wait()
    return times[0], times[1], times[2]


def measure(trajectories: int, repetitions: int) -> dict[str, float]:
    """All times by name."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.yaml"
        study.write_text(yaml.safe_dump(tiny_study(trajectories).resolved()))
        imports = {f"import {name}": _median(partial(import_seconds, modules), repetitions) for name, modules in IMPORTS.items()}
        dry_run = _median(partial(dry_run_seconds, study), repetitions)
        first_round_seconds(study)
        launches = [first_round_seconds(study) for _ in range(repetitions)]
    ready, begun, first = (median(times) for times in zip(*launches, strict=True))
    return imports | {"dry run": dry_run, "Ray ready": ready, "trial begun": begun, "first round": first}


def _median(times: Callable[[], float], repetitions: int) -> float:
    times()
    return median(times() for _ in range(repetitions))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trajectories", type=int, default=200, metavar="N", help="of the study that is launched (default: 200)")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="medians are over so many (default: 3)")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the seconds here too")
    options = parser.parse_args()
    seconds = measure(options.trajectories, options.repetitions)
    table = Table("", "s", box=None)
    for name, value in seconds.items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(seconds, indent=1))


if __name__ == "__main__":
    main()
