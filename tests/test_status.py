"""Status: counted and timed from a folder whose files and times are known by hand, and of a study that is really launched."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep import listing
from sweep.folder import StudyFolder
from sweep.lease import STALE_SECONDS, held
from sweep.plan import Plan, make_plan
from sweep.status import main
from sweep.study import Study
from tests.conftest import TINY_STUDY, StudyWriter
from tests.launching import Launch, round_files
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


@pytest.fixture
def planted(tmp_path: Path, corpus: Corpus) -> Planted:
    """Done: random of seed 0. Running: entropy of seed 0, since an hour without a round. Failed: random of seed 1. The rest waits."""
    study = Planted(tmp_path, corpus)
    study.compute(study.spec("random", 0), 4, [7000, 6000, 3000, 2000, 1000])
    study.compute(study.spec("entropy", 0), 2, [4000, 3800, 3650])
    study.compute(study.spec("random", 1), 1, [900, 500])
    study.fail(study.spec("random", 1), 400)
    return study


@pytest.fixture
def running(planted: Planted) -> Iterator[Planted]:
    with held(planted.storage, LAUNCH):
        planted.age("lease.json", 0)
        yield planted


def test_counts_and_times_by_hand(running: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """The time left weighs each round by what those of its arm and number took, else those of its arm, else all.

    Random took 1000, 3000, 1000, 1000 (seed 0) and 400 s (seed 1), so 700, 3000, 1000 and 1000 by number; entropy 200 and 150, 175 on
    average; the full-data model is unknown, so 6750/7 as all. In the last hour rounds 1, 2 and 3 of random, seed 0, and round 0 of seed 1
    were finished: 5700 s of work. Left are 2 x 175 of entropy, seed 0, 200 + 150 + 2 x 175 of seed 1, and twice the full-data model.
    """
    found = running.status(capsys)
    assert found["trajectories"] == {"planned": 6, "done": 1, "running": 1, "failed": 1, "waiting": 3, "left_out": 0}
    assert (found["rounds"], found["all_rounds"]) == (7, 18)
    assert found["rounds_per_hour"] == pytest.approx(4)
    assert found["seconds_left"] == pytest.approx((350 + 700 + 2 * 6750 / 7) / 5700 * 3600)
    (one,) = found["running"]
    assert one == {
        "trajectory_id": running.spec("entropy", 0).trajectory_id, "arm": "entropy p=0.25 T=3", "seed": 0,
        "rounds": 2, "num_rounds": 4, "num_labelled": 30, "silent_seconds": 3650.0, "usual_seconds": 175.0, "seconds_per_round": 175.0,
        "times_the_others": None,
    }  # fmt: skip
    (failure,) = found["failures"]
    assert (failure["trajectory_id"], failure["round"]) == (running.spec("random", 1).trajectory_id, 1)
    assert found["failed"] == [failure["trajectory_id"]]
    assert found["launch"]["launch"] == found["last_launch"]["name"] == LAUNCH
    assert found["last_launch"]["began"] == NOW - 7200
    assert not found["launch"]["is_dead"]


def test_the_time_left_is_never_shorter_than_the_longest_trajectory(running: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """Random of seed 1 runs again and has 3000 + 1000 + 1000 s left, one after the other, whatever runs beside it."""
    one = running.spec("random", 1)
    running.retry(one, 300)
    work = 5000 + 350 + 700 + 2 * 6750 / 7
    assert work / 5700 * 3600 > 5000
    assert running.status(capsys)["seconds_left"] == pytest.approx(work / 5700 * 3600)
    shutil.rmtree(running.root / "trajectories" / running.spec("entropy", 0).trajectory_id)
    running.launched(selected=[one.trajectory_id])
    assert 5000 / 5700 * 3600 < 5000
    assert running.status(capsys)["seconds_left"] == pytest.approx(5000)


def test_a_person_reads_it_in_80_columns(running: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([str(running.root)]) == 0
    text = capsys.readouterr().out
    assert f"launch {LAUNCH} is running for 2 h 0 min\n" in text
    assert "1 of 6 trajectories done · 1 running · 3 waiting · 1 failed" in text
    assert "7 of 18 rounds · 4 rounds an hour · about 31 min 21 s left" in text
    assert "entropy p=0.25 T=3, seed 0\n    round 3 of 4, 30 labels, for 1 h 0 min; usual: 2 min 55 s (lost?)" in text
    assert "random p=0.25, seed 1\n    round 1, 20" in text
    assert "UTC: ComputationError: the training loss is nan" in " ".join(text.split())
    place = f"{running.root}/trajectories/{running.spec('random', 1).trajectory_id}/failure.json"
    assert f"The whole traceback: {place}\n" in text, "a path is never broken"
    lines = [line for line in text.splitlines() if str(running.root) not in line]
    assert max(map(len, lines)) <= 80


def test_what_failed_before_the_launch_is_waiting_and_then_running(running: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """A launch tries again what failed before it began: until then it waits, and its old failure.json is no failure."""
    one = running.spec("random", 1)
    running.age(f"trajectories/{one.trajectory_id}/failure.json", 8000)
    running.age(f"trajectories/{one.trajectory_id}/attempts/0001.json", 9000)
    found = running.status(capsys)
    assert found["trajectories"] == {"planned": 6, "done": 1, "running": 1, "failed": 0, "waiting": 4, "left_out": 0}
    assert found["failures"] == []
    running.retry(one, 300)
    found = running.status(capsys)
    assert found["trajectories"]["running"] == 2
    assert {entry["trajectory_id"] for entry in found["running"]} == {one.trajectory_id, running.spec("entropy", 0).trajectory_id}


def test_a_launch_of_a_part_is_not_charged_with_the_rest(running: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    running.launched(selected=[running.spec("entropy", seed).trajectory_id for seed in (0, 1)])
    found = running.status(capsys)
    assert found["trajectories"] == {"planned": 6, "done": 1, "running": 1, "failed": 1, "waiting": 1, "left_out": 2}
    assert found["seconds_left"] == pytest.approx(max((350 + 700) / 5700 * 3600, 700))
    main([str(running.root)])
    assert "2 more are planned, which this launch does not run" in capsys.readouterr().out


def test_a_study_that_asks_for_less_than_before(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    study = yaml.safe_load((planted.root / "study.yaml").read_text())
    study["grid"]["seeds"], study["baseline"]["full_data"] = [0], False
    (planted.root / "study.yaml").write_text(yaml.safe_dump(study))
    counts = planted.status(capsys)["trajectories"]
    assert counts == {"planned": 6, "done": 1, "running": 0, "failed": 1, "waiting": 1, "left_out": 3}


def test_what_is_slow_beside_its_arm(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """Round 0 of random took 1000 s for seed 0 and 400 s for seed 1; its other rounds have nothing to be compared with."""
    assert main([str(planted.root)]) == 0
    text = capsys.readouterr().out
    name = planted.spec("random", 0).trajectory_id
    assert f"  {name}  random p=0.25, seed 0\n    2.5 times as long; 25 min 0 s a round\n" in text
    assert text.count("times as long") == 1


def test_a_pause_between_launches_is_no_part_of_a_round(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """Round 2 was finished 3500 s after round 1; of these its trajectory was computed for 150."""
    one = planted.spec("entropy", 1)
    planted.compute(one, 2, [4000, 3800, 3700])
    planted.retry(one, 350)
    place = f"trajectories/{one.trajectory_id}/rounds"
    shutil.copy(planted.root / place / "0001.json", planted.root / place / "0002.json")
    planted.age(f"{place}/0002.json", 200)
    with held(planted.storage, LAUNCH):
        planted.age("lease.json", 0)
        by_seed = {entry["seed"]: entry for entry in planted.status(capsys)["running"]}
    assert by_seed[1]["seconds_per_round"] == pytest.approx((200 + 100 + 150) / 3)


def test_without_a_launch_nothing_runs_and_nothing_is_promised(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    found = planted.status(capsys)
    assert found["trajectories"] == {"planned": 6, "done": 1, "running": 0, "failed": 1, "waiting": 4, "left_out": 0}
    assert found["seconds_left"] is None
    assert found["launch"] is None
    main([str(planted.root)])
    assert f"no launch is running; the last, {LAUNCH}: ended without a word" in " ".join(capsys.readouterr().out.split())


def test_what_an_earlier_launch_began_is_not_running(running: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    running.compute(running.spec("entropy", 1), 1, [9000, 8000], launch="an earlier one")
    assert running.status(capsys)["trajectories"]["running"] == 1


def test_a_launch_that_died_is_told_with_its_last_sign_of_life(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    with held(planted.storage, LAUNCH):
        lease = json.loads((planted.root / "lease.json").read_text())
    lease |= {"host": "elsewhere", "heartbeat": lease["heartbeat"] - 4 * STALE_SECONDS}
    (planted.root / "lease.json").write_text(json.dumps(lease))
    assert main([str(planted.root)]) == 0
    text = capsys.readouterr().out
    assert "ended without a word\n  last sign of life 2 min 0 s ago, from elsewhere, process" in text
    assert planted.status(capsys)["trajectories"]["running"] == 0


def test_a_launch_that_has_ended_is_timed_by_its_record(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """It lasted 6500 s by its own clock, which is a day late, and its record was written last 500 s ago."""
    begun = NOW - 7000 - 86_400
    times = {"begun": datetime.fromtimestamp(begun, UTC).isoformat(), "ended": datetime.fromtimestamp(begun + 6500, UTC).isoformat()}
    planted.launched(500, outcome="some failed", **times)
    found = planted.status(capsys)
    assert found["last_launch"] == {"name": LAUNCH, "outcome": "some failed", "began": pytest.approx(NOW - 7000)}
    assert found["rounds_per_hour"] == pytest.approx(6)  # the hour ends with the last round, 500 s ago


def test_watching_ends_when_no_launch_runs(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(planted.root), "--watch", "0.01"]) == 0
    assert capsys.readouterr().out.count("1 of 6 trajectories done") == 1


def test_watching_is_ended_with_ctrl_c(running: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("sweep.status.time.sleep", sleep)
    assert main([str(running.root), "--watch"]) == 130
    assert pauses == [5.0] * 3
    assert capsys.readouterr().out.count("1 of 6 trajectories done") == 3, "in a log file, one below the other"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--watch", "0"], "--watch 0: must be a number of seconds above 0"),
        (["--watch", "nan"], "--watch nan: must be a number of seconds above 0"),
        (["--watch", "--json"], "without --disk and --json"),
        (["--watch", "--disk"], "without --disk and --json"),
    ],
)
def test_options_that_make_no_sense(planted: Planted, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert main([str(planted.root), *options]) == 2
    assert message in capsys.readouterr().err


def test_files_that_vanish_or_are_half_written_are_not_there_yet(
    running: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledgers = running.root / "trajectories"
    failed, done = (ledgers / running.spec("random", seed).trajectory_id for seed in (1, 0))
    (failed / "failure.json").write_text('{"error": "Comp')
    running.age(f"trajectories/{failed.name}/failure.json", 400)
    (done / "rounds" / ".0004.json.tmp").write_text("{")
    (done / "rounds" / "0003.json.unchained-1").write_text("{}")
    (ledgers / "notes.txt").write_text("of a person")
    real = listing._fill

    def fill(trajectories: Any, files: Any) -> None:
        real(trajectories, files)
        shutil.rmtree(ledgers / running.spec("entropy", 0).trajectory_id)  # between the listing and the reading

    monkeypatch.setattr(listing, "_fill", fill)
    found = running.status(capsys)
    assert found["rounds"] == 7
    assert found["failed"] == [failed.name]
    assert found["failures"] == []
    assert found["trajectories"]["running"] == 0


def test_a_folder_that_is_written_meanwhile(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger appears and vanishes, half of it, as fast as a thread can, while each view is made again and again."""
    ledgers, stop, times = planted.root / "trajectories", threading.Event(), [0]
    source = ledgers / planted.spec("random", 1).trajectory_id
    target = ledgers / planted.spec("entropy", 1).trajectory_id

    def disturb() -> None:
        while not stop.is_set():
            shutil.copytree(source, target)
            (target / "failure.json").write_text("{")
            (target / "rounds" / "0000.json").unlink()
            shutil.rmtree(target)
            times[0] += 1

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(40):
            for options in ([], ["--json"], ["--disk"]):
                assert main([str(planted.root), *options]) == 0
    finally:
        stop.set()
        thread.join()
    assert capsys.readouterr().out.count("of 6 trajectories done") == 40
    assert times[0] > 40


@pytest.mark.parametrize("text", ["protocol: 3", "- a list", "protocol: {label_budgets: [10]}", "a: [", ""])
def test_a_damaged_study_file_is_told(planted: Planted, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (planted.root / "study.yaml").write_text(text)
    assert main([str(planted.root)]) == 2
    assert "study.yaml is damaged" in capsys.readouterr().err


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
    (stranger / "spec.json").write_bytes(b"x" * 50_000)
    aside = planted.root / "trajectories" / planted.spec("entropy", 0).trajectory_id / "rounds" / "0003.json.unchained-1"
    aside.write_bytes(b"y" * 700)
    (planted.root / "tensorboard" / "one").mkdir(parents=True)
    (planted.root / "tensorboard" / "one" / "events").write_bytes(b"z" * 300)
    assert main([str(planted.root), "--disk", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kinds"]["rounds"]["files"] == 7
    assert found["kinds"]["rounds set aside"] == {"files": 1, "bytes": 700}
    assert found["kinds"]["tensorboard"] == {"files": 1, "bytes": 300}
    total = sum(path.stat().st_size for path in planted.root.rglob("*") if path.is_file())
    assert sum(kind["bytes"] for kind in found["kinds"].values()) == total
    assert next(iter(found["largest"].items())) == (stranger.name, {"bytes": 50_000, "what": "no cell's"})
    assert "random p=0.25, seed 0" in {one["what"] for one in found["largest"].values()}
    # the last round of the finished trajectory has predictions
    predictions = f"trajectories/{planted.spec('random', 0).trajectory_id}/predictions"
    assert [(item["paths"], item["bytes"]) for item in found["removable"]] == [
        (["trajectories/0123456789abcdef"], 50_000),
        ([predictions], (planted.root / predictions / "0003.npz").stat().st_size),
        ([str(aside.relative_to(planted.root))], 700),
        (["tensorboard"], 300),
    ]
    assert main([str(planted.root), "--disk"]) == 0
    assert f"  rm -r {planted.root}/trajectories/0123456789abcdef\n" in capsys.readouterr().out


def test_the_commands_that_disk_tells_remove_what_they_say_and_nothing_else(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """Predictions of a trajectory that is not finished are left: without them it could not go on."""
    ledgers = planted.root / "trajectories"
    done, unfinished = (ledgers / planted.spec(name, 0).trajectory_id for name in ("random", "entropy"))
    (unfinished / "predictions").mkdir()
    (unfinished / "predictions" / "0001.npz").write_bytes(b"x" * 10)
    (ledgers / "0123456789abcdef").mkdir()
    (ledgers / "0123456789abcdef" / "spec.json").write_bytes(b"{}")
    (done / "rounds" / "0001.json.unchained-1").write_bytes(b"{}")
    (done / "rounds" / ".0002.json.1234abcd.tmp").write_bytes(b"{")
    (planted.root / "report").mkdir()
    (planted.root / "report" / "report.html").write_bytes(b"<html>")
    before = {path for path in planted.root.rglob("*") if path.is_file()}
    assert main([str(planted.root), "--disk", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["removable"]
    assert {path for path in planted.root.rglob("*") if path.is_file()} == before, "status removes nothing itself"
    for item in told:
        for command in item["commands"]:
            subprocess.run(command, shell=True, check=True)
    gone = {str(path.relative_to(planted.root)) for path in before if not path.exists()}
    assert gone == {
        f"trajectories/{done.name}/predictions/0003.npz",
        "trajectories/0123456789abcdef/spec.json",
        f"trajectories/{done.name}/rounds/0001.json.unchained-1",
        f"trajectories/{done.name}/rounds/.0002.json.1234abcd.tmp",
        "report/report.html",
    }
    assert len(gone) == sum(item["files"] for item in told)
    assert main([str(planted.root), "--disk"]) == 0
    assert "could be removed" not in capsys.readouterr().out


def test_disk_warns_while_a_launch_runs(running: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(running.root), "--disk"]) == 0
    assert "a launch is running: remove nothing before it has ended" in capsys.readouterr().out


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


def test_a_launch_is_seen_while_it_runs_and_afterwards(study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "results" / "tiny"
    study = study_file(training={"min_steps": 1500}, grid={"acquisition": "random"})
    launch = Launch(study, tmp_path / "results", "--no-report", "--seeds", "1")
    try:
        launch.wait_until(lambda: len(round_files(folder)) >= 2)
        assert main([str(folder), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["launch"]["pid"] == launch.process.pid
        assert found["trajectories"]["planned"] == 4
        assert found["trajectories"]["left_out"] == 2, "those of seed 0"
        assert {one["seed"] for one in found["running"]} == {1}
        assert found["seconds_left"] > 0
        assert launch.wait() == 0, launch.output
    finally:
        launch.kill_everything()
    assert main([str(folder), "--watch"]) == 0
    text = capsys.readouterr().out
    assert ": finished\n" in text
    assert "2 of 4 trajectories done · 2 waiting" in text
