"""Start launches as a user does, in processes of their own, and end them in every way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from trainables.rounds import PLACE_COLUMNS

DEADLINE_SECONDS = 180.0


class Launch:
    """One ``python -m sweep.launch``, whose output goes to a file."""

    def __init__(self, study: Path, storage: Path, *arguments: str, log_folder: Path | None = None) -> None:
        self.storage = storage
        self.log = (log_folder or storage.parent) / f"launch-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "sweep.launch", str(study), "--storage", str(storage), *arguments]
        with self.log.open("w") as log:
            environment = os.environ | {"COLUMNS": "200"}
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, preexec_fn=_as_from_a_terminal)

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; an error if the launch ends before."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill_driver(self) -> None:
        self.process.kill()
        self.process.wait()

    def kill_everything(self) -> None:
        """The driver and all it started, Ray's own processes among them."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            kill(pid)
        self.process.wait()


def _as_from_a_terminal() -> None:
    """Let Ctrl-C count: a shell starts background jobs, and so tests that run in one, with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(study: Path, storage: Path, *arguments: str, expected: int = 0, log_folder: Path | None = None) -> str:
    """Launch and wait; returns the output."""
    launch = Launch(study, storage, *arguments, log_folder=log_folder)
    assert launch.wait() == expected, launch.output
    return launch.output


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """All children of a process, theirs, and so on."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, frontier = [], {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found += frontier
    return found


def attempts(study_folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(study_folder.glob("trajectories/*/attempts/*.json")):
        yield path, json.loads(path.read_text())


def trial_pids(study_folder: Path) -> list[int]:
    """Processes of the trials that are not finished."""
    return [record["pid"] for path, record in attempts(study_folder) if not (path.parent.parent / "trajectory.parquet").exists()]


def round_files(study_folder: Path) -> dict[str, tuple[int, int]]:
    """Every finished round, with what shows whether its file was ever written again."""
    files = study_folder.glob("trajectories/*/rounds/*.json")
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def sealed_science(study_folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Science columns of all sealed trajectories, by id."""
    tables = {path.parent.name: pq.read_table(path) for path in study_folder.glob("trajectories/*/trajectory.parquet")}
    return {name: table.drop_columns(sorted(PLACE_COLUMNS)).to_pylist() for name, table in sorted(tables.items())}
