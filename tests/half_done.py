"""The tiny study, half done: its files, their times and so every count of its status are known by hand."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sweep.folder import StudyFolder
from sweep.plan import Plan, make_plan
from sweep.status import main
from sweep.study import Study
from tests.conftest import TINY_STUDY
from trainables.corpus import Corpus
from trainables.errors import ComputationError
from trainables.ledger import Ledger
from trainables.spec import Execution, TrajectorySpec
from trainables.storage import LocalStorage
from trainables.trajectory import rounds

LAUNCH = "20260101T000000-abcdef"
NOW = 4_000_000_000.0
"""Later than any file that a test leaves with the time at which it was really written."""


class Planted:
    """The tiny study (two seeds of random, entropy and the full-data model; four rounds, or one), as far as a test takes it."""

    def __init__(self, place: Path, corpus: Corpus) -> None:
        self.root = place / "tiny"
        self.corpus = corpus
        self.storage = LocalStorage(self.root)
        self.folder = StudyFolder(self.storage)
        self.plan: Plan = make_plan(Study.model_validate(TINY_STUDY), corpus)
        self.folder.save(Study.model_validate(TINY_STUDY), self.plan, corpus)
        self.launched()

    def launched(self, age: float = 7200, **record: Any) -> None:
        """The record of the launch, written so many seconds ago by a machine whose clock is a day late."""
        begun = datetime.fromtimestamp(NOW - age - 86_400, UTC).isoformat()
        self.folder.write_launch(LAUNCH, {"begun": begun, "outcome": "running"} | record)
        self.age(f"launches/{LAUNCH}.json", age)

    def age(self, name: str, seconds: float) -> None:
        os.utime(self.root / name, (NOW - seconds, NOW - seconds))

    def fail(self, spec: TrajectorySpec, age: float) -> None:
        """The last attempt of a trajectory failed so many seconds ago."""
        ledger = Ledger(self.folder.trajectory(spec.trajectory_id), spec)
        ledger.record_failure(ComputationError("the training loss is nan\nand more"), {"launch": LAUNCH, "host": "n1"})
        self.age(f"trajectories/{spec.trajectory_id}/failure.json", age)

    def retry(self, spec: TrajectorySpec, age: float) -> None:
        """The launch began a trajectory a second time."""
        name = f"trajectories/{spec.trajectory_id}/attempts/0002.json"
        self.storage.write(name, json.dumps({"launch": LAUNCH, "first_round": 1}).encode())
        self.age(name, age)

    def spec(self, acquisition: str, seed: int) -> TrajectorySpec:
        return next(spec for spec in self.plan.specs.values() if (spec.acquisition, spec.seed) == (acquisition, seed))

    def compute(self, spec: TrajectorySpec, num_rounds: int, ages: list[float], launch: str = LAUNCH) -> None:
        """So many rounds, the attempt and then each round so many seconds old."""
        ledger = Ledger(self.storage.folder(f"trajectories/{spec.trajectory_id}"), spec)
        ledger.read()
        attempt = ledger.begin_attempt(launch, {})
        source = rounds(spec, self.corpus, [], Execution())
        for _ in range(num_rounds):
            ledger.append(next(source), attempt)
        if num_rounds == spec.num_rounds:
            ledger.seal()
        place = self.root / "trajectories" / spec.trajectory_id
        for path, age in zip([place / "attempts" / "0001.json", *sorted((place / "rounds").glob("*.json"))], ages, strict=True):
            os.utime(path, (NOW - age, NOW - age))

    def status(self, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        assert main([str(self.root), "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found


def half_done(place: Path, corpus: Corpus) -> Planted:
    """Done: random of seed 0. Running: entropy of seed 0, since an hour without a round. Failed: random of seed 1. The rest waits."""
    study = Planted(place, corpus)
    study.compute(study.spec("random", 0), 4, [7000, 6000, 3000, 2000, 1000])
    study.compute(study.spec("entropy", 0), 2, [4000, 3800, 3650])
    study.compute(study.spec("random", 1), 1, [900, 500])
    study.fail(study.spec("random", 1), 400)
    return study
