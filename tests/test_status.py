"""Status: counted and timed from a folder whose files and times are known by hand, and of a study that is really launched."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from sweep.lease import STALE_SECONDS, held
from sweep.status import main
from tests.conftest import StudyWriter
from tests.half_done import LAUNCH, NOW, Planted, half_done
from tests.launching import Launch, round_files
from trainables.corpus import Corpus


@pytest.fixture
def planted(tmp_path: Path, corpus: Corpus) -> Planted:
    return half_done(tmp_path, corpus)


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
