"""A study can be killed at any moment, in any of its processes, and goes on as if nothing had happened."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StudyWriter
from tests.launching import Launch, attempts, finish, kill, round_files, sealed_science, trial_pids

SLOWER: dict[str, Any] = {"training": {"min_steps": 500}, "grid": {"seeds": 2, "acquisition": ["random", "bald"]}}
"""A few seconds of computing a trajectory: long enough to be hit in the middle, four times."""


@pytest.mark.parametrize("seed", [0])
def test_killed_at_random_moments_the_rounds_are_those_of_an_undisturbed_study(study_file: StudyWriter, tmp_path: Path, seed: int) -> None:
    study = study_file(**SLOWER)
    finish(study, tmp_path / "undisturbed", "--no-report")
    chance = random.Random(seed)
    folder = tmp_path / "disturbed" / "tiny"
    seen: dict[str, tuple[int, int]] = {}
    for what in ("driver", "everything", "trial", "driver"):
        rounds_before, attempts_before = len(round_files(folder)), {path for path, _ in attempts(folder)}
        launch = Launch(study, tmp_path / "disturbed", "--no-report")
        wanted = rounds_before + chance.choice([0, 1, 2])
        launch.wait_until(lambda: len(list(attempts(folder))) > len(attempts_before) and len(round_files(folder)) >= wanted)  # noqa: B023
        time.sleep(chance.uniform(0, 0.4))
        match what:
            case "driver":
                launch.kill_driver()
            case "everything":
                launch.kill_everything()
            case "trial":
                kill(trial_pids(folder)[-1])
                time.sleep(chance.uniform(0, 1.0))
                launch.kill_everything()
        now = round_files(folder)
        assert all(now[path] == stamp for path, stamp in seen.items()), "a finished round was written again"
        for path, record in attempts(folder):
            if path not in attempts_before:
                already = [name for name in seen if Path(name).parent.parent == path.parent.parent]
                assert record["first_round"] >= len(already), "a finished round was computed again"
        seen |= now
    output = finish(study, tmp_path / "disturbed", "--no-report")
    assert "6 of 6 trajectories are finished" in output
    assert sealed_science(folder) == sealed_science(tmp_path / "undisturbed" / "tiny")
    assert len(sealed_science(folder)) == 6
    now = round_files(folder)
    assert all(now[path] == stamp for path, stamp in seen.items())


def test_a_killed_trial_goes_on_within_the_same_launch(study_file: StudyWriter, tmp_path: Path) -> None:
    study = study_file(training={"min_steps": 400}, grid={"seeds": 1}, baseline={"full_data": False})
    folder = tmp_path / "results" / "tiny"
    launch = Launch(study, tmp_path / "results", "--no-report")
    launch.wait_until(lambda: len(round_files(folder)) >= 1)
    victim = Path(next(iter(round_files(folder)))).parent.parent  # the one with a finished round: the other may have none yet
    kill(next(record["pid"] for path, record in attempts(folder) if path.parent.parent == victim))
    assert launch.wait() == 0, launch.output
    assert "lost a worker" in launch.output
    assert "2 of 2 trajectories are finished" in launch.output
    first_rounds = [record["first_round"] for path, record in attempts(folder)]
    assert len(first_rounds) == 3
    assert max(first_rounds) >= 1


@pytest.mark.slow
def test_a_trial_that_always_loses_its_worker_ends_and_the_others_go_on(study_file: StudyWriter, tmp_path: Path) -> None:
    study = study_file(training={"min_steps": 600}, grid={"seeds": 1}, baseline={"full_data": False})
    folder = tmp_path / "results" / "tiny"
    launch = Launch(study, tmp_path / "results", "--no-report")
    killed: set[int] = set()
    launch.wait_until(lambda: bool(trial_pids(folder)))
    victim = next(attempts(folder))[0].parent.parent
    deadline = time.monotonic() + 170
    while launch.process.poll() is None and time.monotonic() < deadline:
        for path, record in attempts(folder):
            if path.parent.parent == victim and record["pid"] not in killed and len(list(victim.glob("rounds/*"))) == 0:
                killed.add(record["pid"])
                kill(record["pid"])
        time.sleep(0.02)
    assert launch.wait() == 1, launch.output
    assert f"failed {victim.name}" in launch.output
    assert "its worker vanished 3 times without finishing a round" in launch.output
    assert "too little memory" in (victim / "failure.json").read_text()
    assert len(sealed_science(folder)) == 1
    output = finish(study, tmp_path / "results", "--no-report")
    assert "2 of 2 trajectories are finished" in output
    assert not (victim / "failure.json").exists()
