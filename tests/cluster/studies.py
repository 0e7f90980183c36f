"""Studies on a cluster, and what shows afterwards whether anything was lost or computed twice."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.aws_services import BUCKET
from tests.cluster.clusters import CHECKOUT, Cluster
from tests.cluster.hosts import wait_for
from tests.launching import attempts, round_files, sealed_science

SEEDS = 2
TRAJECTORIES = 5 * SEEDS
PATIENCE_SECONDS = 5
"""How long a storage that fails is waited for; a user's minute would be spent many times here."""
OVERRIDES = (
    f"--set grid.seeds={SEEDS} --set resources.storage_patience={PATIENCE_SECONDS} --set training.min_steps=1000 "
    "--set trackers.tensorboard=false"
)
"""With so many steps a round takes a second: there is time to break something before the study ends. A disk on which an event file is open
for writing cannot be made read-only."""
RESULTS = "/mnt/shared/results"
FETCH = "import sys, pyarrow.fs; pyarrow.fs.copy_files(sys.argv[1], sys.argv[2])"


def launch_line(name: str, storage: str, *options: str) -> str:
    """The quickstart study under another name."""
    study = f"configs/quickstart.yaml {OVERRIDES} --set study={name}"
    return f"cd {CHECKOUT} && python -m sweep.launch {study} --storage {storage} --no-report {' '.join(options)}"


class ClusterStudy:
    """A study on a cluster whose machines share a folder, which the box sees, too."""

    storage = RESULTS

    def __init__(self, cluster: Cluster, name: str, by: str = "user") -> None:
        """`name` is the study's own, so that each test has its folder; `by` keeps apart the logs of those who launch it."""
        self.cluster = cluster
        self.name = name
        self._by = by
        self.folder = cluster.network.shared / "results" / name
        self._launches = 0

    def launch(self) -> None:
        """Give the command once more; returns once it was handed to the head."""
        self._launches += 1
        line = launch_line(self.name, self.storage, "--address auto")
        self.cluster.start(f"({line}) > ~/{self._tag}.log 2>&1; echo $? > ~/{self._tag}.exit")

    @property
    def _tag(self) -> str:
        return f"{self.name}-{self._by}-{self._launches}"

    @property
    def output(self) -> str:
        log = self.cluster.head.disk / f"{self._tag}.log"
        return log.read_text() if log.exists() else ""

    @property
    def exit_code(self) -> int | None:
        """Of the latest launch; None while it runs."""
        exit_file = self.cluster.head.disk / f"{self._tag}.exit"
        text = exit_file.read_text().strip() if exit_file.exists() else ""
        return int(text) if text else None

    def kill_driver(self) -> None:
        """SIGKILL for the process that holds the study."""
        holder = json.loads((self.folder / "lease.json").read_text())
        self.cluster.head.run(f"kill -KILL {holder['pid']}")

    def wait(self, seconds: float = 240.0) -> int:
        wait_for(lambda: self.exit_code is not None, f"{self.name} ends; so far:\n{self.output}", seconds)
        code = self.exit_code
        assert code is not None
        return code

    def wait_for_rounds(self, number: int, seconds: float = 120.0) -> None:
        """Wait until so many rounds are finished; an error if the launch ends before."""
        deadline = time.monotonic() + seconds
        while len(round_files(self.folder)) < number:
            assert self.exit_code is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def finish(self, seconds: float = 240.0) -> None:
        """Wait for a good end."""
        assert self.wait(seconds) == 0, self.output
        assert f"{TRAJECTORIES} of {TRAJECTORIES} trajectories are finished" in self.output

    def running_on(self, host: str) -> list[tuple[Path, dict[str, Any]]]:
        """Attempts at unfinished trajectories whose latest attempt is on a machine."""
        latest: dict[Path, tuple[Path, dict[str, Any]]] = {}
        for path, record in attempts(self.folder):
            latest[path.parent.parent] = (path, record)
        return [found for folder, found in latest.items() if found[1]["host"] == host and not (folder / "trajectory.parquet").exists()]

    def wait_until_running_on(self, host: str, rounds: int = 1) -> None:
        """Wait until a trajectory with finished rounds is being computed on a machine."""

        def under_way() -> bool:
            return any(len(list(path.parent.parent.glob("rounds/*.json"))) >= rounds for path, _ in self.running_on(host))

        wait_for(under_way, f"a trajectory under way on {host}:\n{self.output}", 120.0, 0.05)


class BucketStudy(ClusterStudy):
    """A study whose results are in a bucket, and are fetched to the laptop to be looked at."""

    storage = f"s3://{BUCKET}/results"

    def fetch(self, folder: str) -> Path:
        """Copy what is there now; the folder as the box sees it."""
        laptop = self.cluster.laptop
        laptop.python(FETCH, f"{self.storage}/{self.name}", f"/root/{folder}")
        return laptop.disk / folder


@dataclass(frozen=True)
class Evidence:
    """What was on storage at one moment, by place below the study's folder."""

    rounds: dict[str, object]
    """What shows whether a file was ever written again: inode and time, or its bytes where it is a copy of what is in a bucket."""
    attempts: frozenset[str]

    @classmethod
    def of(cls, folder: Path, *, copied: bool = False) -> "Evidence":
        """Rounds first: an attempt that begins between the two looks is then not held against them."""
        stamps = round_files(folder)
        rounds = {_place(path, folder): Path(path).read_bytes() if copied else stamp for path, stamp in stamps.items()}
        return cls(rounds, frozenset(_place(path, folder) for path, _ in attempts(folder)))

    def begun_again(self, folder: Path, *, copied: bool = False) -> int:
        """Attempts since then at trajectories that had been begun; each computes again the round in flight, at most.

        Nothing that was finished then may have been written or computed again.
        """
        now = self.of(folder, copied=copied).rounds
        changed = [place for place, stamp in self.rounds.items() if now.get(place) != stamp]
        assert not changed, f"finished rounds were written again: {changed}"
        finished = Counter(_trajectory(place) for place in self.rounds)
        begun = {_trajectory(place) for place in self.attempts}
        records = {_place(path, folder): record for path, record in attempts(folder)}
        new = {place: record for place, record in records.items() if place not in self.attempts}
        for place, record in new.items():
            assert record["first_round"] >= finished[_trajectory(place)], f"finished rounds were computed again: {place}: {record}"
        return sum(_trajectory(place) in begun for place in new)


def _place(path: str | Path, folder: Path) -> str:
    return str(Path(path).relative_to(folder))


def _trajectory(place: str) -> str:
    return Path(place).parts[1]


def assert_same_science(folder: Path, reference: dict[str, list[dict[str, Any]]]) -> None:
    """Bit for bit that of the undisturbed study on one machine."""
    science = sealed_science(folder)
    assert science.keys() == reference.keys()
    different = [name for name in science if science[name] != reference[name]]
    assert not different
