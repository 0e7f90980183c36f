"""Run some of a study's trajectories: what failed, ids, seeds."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweep.launch import main
from tests.conftest import StudyWriter
from tests.launching import finish


@pytest.fixture
def planned(study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The plan of the tiny study (two seeds, random, entropy and the full-data model) under further arguments."""
    path = study_file()

    def plan(*arguments: str) -> dict[str, Any]:
        code = main([str(path), "--storage", str(tmp_path / "results"), "--dry-run", "--json", *arguments])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        found: dict[str, Any] = json.loads(captured.out)
        return found

    return plan


def ids(plan: dict[str, Any]) -> list[str]:
    return [spec["trajectory_id"] for spec in plan["remaining_trajectories"]]


def test_seeds_and_ids(planned: Any) -> None:
    whole = planned()
    assert (whole["remaining"], whole["left_out"]) == (6, 0)
    of_seed_1 = planned("--seeds", "1")
    assert [spec["seed"] for spec in of_seed_1["remaining_trajectories"]] == [1, 1, 1]
    assert (of_seed_1["trajectories"], of_seed_1["left_out"]) == (6, 3)
    first, second, *_ = ids(whole)
    assert ids(planned("--only", first, "--only", second[:10])) == [first, second]
    assert ids(planned("--only", first, "--seeds", "1")) == []
    assert ids(planned("--only", "failed")) == []


def test_new_seeds_are_added(planned: Any) -> None:
    more = planned("--seeds", "1,11-13")
    assert {spec["seed"] for spec in more["remaining_trajectories"]} == {1, 11, 12, 13}
    assert (more["trajectories"], more["left_out"]) == (15, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "zz"], "--only zz: is the id of no trajectory of this study; give `failed` or an id"),
        (["--only", ""], "--only : is the id of no trajectory"),
        (["--seeds", "eleven"], '--seeds eleven: must be seeds or ranges of them, as in "11-20" or "3,7"'),
        (["--seeds", "1,1"], "--seeds 1,1: must be seeds"),
        (["--seeds", "3-2"], "--seeds 3-2: must be seeds"),
    ],
)
def test_what_selects_nothing_is_refused(
    study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([str(study_file()), "--storage", str(tmp_path / "results"), "--dry-run", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_selection_is_run_and_the_rest_is_left_for_later(study_file: StudyWriter, tmp_path: Path) -> None:
    """Exit code 0 where all that was selected is finished; a later launch of the same study runs the rest only."""
    path, storage = study_file(), tmp_path / "results"
    output = finish(path, storage, "--seeds", "1")
    assert "3 of 6 trajectories are finished" in output
    assert "3 were left out by --only or --seeds: without that, the command runs them" in output
    sealed = {file.parent.name: file.stat().st_mtime_ns for file in storage.glob("tiny/trajectories/*/trajectory.parquet")}
    assert {json.loads((storage / "tiny/trajectories" / i / "spec.json").read_text())["seed"] for i in sealed} == {1}
    assert "6 of 6 trajectories are finished" in finish(path, storage)
    assert all((storage / "tiny/trajectories" / i / "trajectory.parquet").stat().st_mtime_ns == time for i, time in sealed.items())
