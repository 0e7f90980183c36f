"""Status: counted and timed from a folder whose files and times are known by hand."""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sweep import snapshot
from sweep.folder import StudyFolder
from sweep.lease import held
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
NOW = 1_800_000_000.0


class Planted:
    """The tiny study (two seeds of random, entropy and the full-data model; four rounds, or one), as far as a test takes it."""

    def __init__(self, place: Path, corpus: Corpus) -> None:
        self.root = place / "tiny"
        self.corpus = corpus
        self.storage = LocalStorage(self.root)
        self.folder = StudyFolder(self.storage)
        self.plan: Plan = make_plan(Study.model_validate(TINY_STUDY), corpus)
        self.folder.save(Study.model_validate(TINY_STUDY), self.plan, corpus)
        begun = datetime.fromtimestamp(NOW - 7200, UTC).isoformat()
        self.folder.write_launch(LAUNCH, {"begun": begun, "outcome": "running"})

    def spec(self, acquisition: str, seed: int) -> TrajectorySpec:
        return next(spec for spec in self.plan.specs.values() if (spec.acquisition, spec.seed) == (acquisition, seed))

    def compute(self, spec: TrajectorySpec, num_rounds: int, ages: list[float], launch: str = LAUNCH) -> Ledger:
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
        return ledger

    def status(self, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        assert main([str(self.root), "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found


@pytest.fixture
def planted(tmp_path: Path, corpus: Corpus) -> Planted:
    """Done: random of seed 0. Running: entropy of seed 0, since an hour without a round. Failed: random of seed 1. The rest waits."""
    study = Planted(tmp_path, corpus)
    study.compute(study.spec("random", 0), 4, [7000, 6000, 3000, 2000, 1000])
    study.compute(study.spec("entropy", 0), 2, [4000, 3800, 3650])
    failed = study.compute(study.spec("random", 1), 1, [900, 500])
    failed.record_failure(ComputationError("the training loss is nan\nand more"), {"launch": LAUNCH, "host": "n1"})
    return study


@pytest.fixture
def running(planted: Planted) -> Iterator[Planted]:
    with held(planted.storage, LAUNCH):
        os.utime(planted.root / "lease.json", (NOW, NOW))
        yield planted


def test_counts_and_times_by_hand(running: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """Rounds of the last hour: three of random, seed 0, and one of random, seed 1: 4 an hour. Left: 18 - 7 done - 3 of the failed one."""
    found = running.status(capsys)
    assert found["trajectories"] == {"planned": 6, "done": 1, "running": 1, "failed": 1, "waiting": 3}
    assert (found["rounds"], found["all_rounds"]) == (7, 18)
    assert found["rounds_per_hour"] == pytest.approx(4)
    assert found["seconds_left"] == pytest.approx(8 / 4 * 3600)
    (one,) = found["running"]
    assert one == {
        "trajectory_id": running.spec("entropy", 0).trajectory_id, "arm": "entropy p=0.25 T=3", "seed": 0,
        "rounds": 2, "num_rounds": 4, "silent_seconds": 3650.0, "seconds_per_round": 175.0,
    }  # fmt: skip
    (failure,) = found["failures"]
    assert (failure["trajectory_id"], failure["round"]) == (running.spec("random", 1).trajectory_id, 1)
    assert found["launch"]["launch"] == LAUNCH
    assert not found["launch"]["is_dead"]


def test_a_person_reads_it_in_80_columns(running: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([str(running.root)]) == 0
    text = capsys.readouterr().out
    assert "1 of 6 trajectories done · 1 running · 3 waiting · 1 failed" in text
    assert "7 of 18 rounds · 4 rounds an hour · about 2 h 0 min left" in text
    assert "entropy p=0.25 T=3, seed 0\n    round 3 of 4 for 1 h 0 min, 2 min 55 s a round before" in text
    assert "random p=0.25, seed 1, round 1," in text
    assert "    ComputationError: the training loss is nan\n" in text
    assert "failure.json" in text
    assert max(map(len, text.splitlines())) <= 80


def test_without_a_launch_nothing_runs_and_nothing_is_promised(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    found = planted.status(capsys)
    assert found["trajectories"] == {"planned": 6, "done": 1, "running": 0, "failed": 1, "waiting": 4}
    assert found["seconds_left"] is None
    assert found["launch"] is None
    main([str(planted.root)])
    assert f"no launch is running; the last, {LAUNCH}: ended without a word" in " ".join(capsys.readouterr().out.split())


def test_what_an_earlier_launch_began_is_not_running(running: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    running.compute(running.spec("entropy", 1), 1, [9000, 8000], launch="an earlier one")
    assert running.status(capsys)["trajectories"]["running"] == 1


def test_watching_ends_when_no_launch_runs(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(planted.root), "--watch", "0.01"]) == 0
    assert "1 of 6 trajectories done" in capsys.readouterr().out


def test_files_that_vanish_or_are_half_written_are_not_there_yet(
    running: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledgers = running.root / "trajectories"
    (ledgers / running.spec("random", 1).trajectory_id / "failure.json").write_text('{"error": "Comp')
    (ledgers / running.spec("random", 0).trajectory_id / "rounds" / ".0004.json.tmp").write_text("{")
    real = snapshot._fill

    def fill(trajectories: Any, files: Any) -> None:
        real(trajectories, files)
        shutil.rmtree(ledgers / running.spec("entropy", 0).trajectory_id)  # between the listing and the reading

    monkeypatch.setattr(snapshot, "_fill", fill)
    found = running.status(capsys)
    assert found["rounds"] == 7
    assert found["trajectories"]["failed"] == 1
    assert found["failures"] == []
    assert found["trajectories"]["running"] == 0


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("a file")])
def test_what_is_no_study_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any) -> None:
    make(tmp_path / "place")
    assert main([str(tmp_path / "place")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "place") in error.replace("\n", "")
    assert len(error.strip().splitlines()) <= 2


def test_disk(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    stranger = planted.root / "trajectories" / "0123456789abcdef"
    stranger.mkdir()
    (stranger / "spec.json").write_bytes(b"x" * 5000)
    aside = planted.root / "trajectories" / planted.spec("entropy", 0).trajectory_id / "rounds" / "0003.json.unchained-1"
    aside.write_bytes(b"y" * 700)
    assert main([str(planted.root), "--disk", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kinds"]["rounds"]["files"] == 7
    assert found["kinds"]["set aside"] == {"files": 1, "bytes": 700}
    total = sum(path.stat().st_size for path in planted.root.rglob("*") if path.is_file())
    assert sum(kind["bytes"] for kind in found["kinds"].values()) == total
    removable = {item["what"].split()[0]: item for item in found["removable"]}
    assert removable["trajectories"]["paths"] == ["trajectories/0123456789abcdef"]
    assert removable["trajectories"]["bytes"] == 5000
    assert removable["rounds"]["bytes"] == 700
    assert main([str(planted.root), "--disk"]) == 0
    command = f"rm -r {planted.root}/trajectories/0123456789abcdef"
    assert command in capsys.readouterr().out.replace("\n", "")


def test_finished_trajectories_are_told_from_the_listing(
    tmp_path: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of a finished trajectory is read: what is, is counted here."""
    study = Planted(tmp_path, corpus)
    sealed = study.spec("random", 0)
    study.compute(sealed, 4, [7000, 6000, 3000, 2000, 1000])
    read: list[str] = []
    real = LocalStorage.read
    monkeypatch.setattr(LocalStorage, "read", lambda self, name: read.append(name) or real(self, name))
    study.status(capsys)
    assert sorted(read) == sorted(["plan.json", "study.yaml", f"launches/{LAUNCH}.json", "lease.json"])
