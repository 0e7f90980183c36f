"""A storage that goes away in mid-study ends the launch clearly, and the study goes on when it is back."""

import json
import shutil
from pathlib import Path

from tests.conftest import StudyWriter
from tests.launching import Launch, attempts, finish, round_files, sealed_science


def test_the_storage_goes_away_and_comes_back(study_file: StudyWriter, tmp_path: Path) -> None:
    study = study_file(training={"min_steps": 200}, grid={"seeds": 2}, resources={"storage_patience": 1.0})
    finish(study, tmp_path / "undisturbed", "--no-report")
    storage, folder = tmp_path / "disturbed", tmp_path / "disturbed" / "tiny"
    launch = Launch(study, storage, "--no-report")
    launch.wait_until(lambda: len(round_files(folder)) >= 2)
    storage.rename(tmp_path / "unmounted")
    assert launch.wait() == 1, launch.output
    failed = [line for line in launch.output.splitlines() if line.startswith("failed")]
    assert 1 <= len(failed) <= 4, launch.output
    assert all(f"storage {folder}/trajectories/" in line and "is the shared storage mounted?" in line for line in failed)
    assert "Stopped: the storage cannot be used. Every finished round is kept; when it is back, go on with" in launch.output
    assert "Traceback" not in launch.output
    assert not storage.exists(), "something was written below the place where the storage was mounted"

    (tmp_path / "unmounted").rename(storage)
    before = round_files(folder)
    for path in before:
        json.loads(Path(path).read_text())
    begun = {path for path, _ in attempts(folder)}
    output = finish(study, storage, "--no-report")
    assert "6 of 6 trajectories are finished" in output
    assert sealed_science(folder) == sealed_science(tmp_path / "undisturbed" / "tiny")
    now = round_files(folder)
    assert all(now[path] == stamp for path, stamp in before.items()), "a finished round was written again"
    for path, record in attempts(folder):
        if path not in begun:
            there = [name for name in before if Path(name).parent.parent == path.parent.parent]
            assert record["first_round"] == len(there), "a finished round was computed again"
    shutil.rmtree(storage)
