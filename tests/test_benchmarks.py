"""The benchmark of whole trajectories: it runs, alone and beside a peer, and says what is missing."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import trajectory

TINY = "--rounds 2 --labels 40 --acquire 8 --subsample 80 --mc-passes 2 --gradient-steps 2 --embedding-dim 4 --hidden-dim 4".split()
NEEDS_BAAL = pytest.mark.skipif(find_spec("baal") is None, reason="the extra `benchmarks` is not installed")


@pytest.mark.parametrize(
    ("peer", "variants"),
    [
        ([], ["al-sweep"]),
        pytest.param(["--peer", "baal"], ["al-sweep", "al-sweep, two sites", "baal, default", "baal, loop"], marks=NEEDS_BAAL),
    ],
)
def test_a_trajectory_is_measured(peer: list[str], variants: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.trajectory", *peer, *TINY, "--repeats", "2", "--json", str(tmp_path / "rows.json")]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == variants
    assert rows[0]["speed"] == 1
    for row in rows:
        assert row["variant"] in done.stdout
        assert 0 < row["train_seconds"] + row["score_seconds"] + row["evaluate_seconds"] <= row["wall_seconds"]
        assert len(row["repeats"]["final_accuracy"]) == 2
        assert 0.3 < row["final_accuracy"] < 0.7  # two gradient steps: chance


def test_a_peer_that_is_not_installed_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(trajectory, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        trajectory.main(["--peer", "baal"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == trajectory.NO_BAAL
