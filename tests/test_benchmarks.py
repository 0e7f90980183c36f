"""The benchmarks of the science run, at sizes that measure nothing, and write the rows that they promise."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import estimate, mc_scoring, precision, training, trajectory
from benchmarks.reviews import invented_reviews
from tests.conftest import SpecFactory, StudyWriter
from trainables.lstm import Lstm
from trainables.mc_dropout import Distributions
from trainables.spec import Execution

TINY = "--rounds 2 --labels 40 --acquire 8 --subsample 80 --mc-passes 2 --gradient-steps 2 --embedding-dim 4 --hidden-dim 4".split()
NEEDS_BAAL = pytest.mark.skipif(find_spec("baal") is None, reason="the extra `benchmarks` is not installed")


@pytest.mark.parametrize(
    ("peer", "variants"),
    [
        ([], ["al-sweep"]),
        pytest.param(
            ["--peer", "baal"], ["al-sweep", "al-sweep, float32", "al-sweep, four sites", "baal, default", "baal, loop"], marks=NEEDS_BAAL
        ),
    ],
)
def test_a_trajectory_is_measured(peer: list[str], variants: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.trajectory", *peer, *TINY, "--repeats", "2", "--json", str(tmp_path / "rows.json")]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == variants
    assert rows[0]["times"] == 1
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


def run(main: Callable[[], None], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a benchmark writes as JSON."""
    monkeypatch.setattr(sys, "argv", ["benchmark", *command.split(), "--json", str(tmp_path / "rows.json")])
    main()
    return json.loads((tmp_path / "rows.json").read_text())


def test_scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = run(mc_scoring.main, "--hidden-dim 4 --reviews 20 --repeats 1", tmp_path, monkeypatch)
    columns = {"hidden_dim", "variant", "precision", "tokens_per_second", "speedup_over_loop", "fraction_of_peak"}
    assert all(set(row) == columns for row in rows)
    assert [(row["variant"], row["precision"]) for row in rows] == [
        ("loop", "float32"),
        ("thinned, torch", "float32"),
        ("thinned", "float32"),
        ("thinned, torch", "bfloat16"),
        ("thinned", "bfloat16"),
    ]
    assert rows[0]["speedup_over_loop"] == 1


def test_an_estimate_is_compared_arm_by_arm(
    study_file: StudyWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = run(estimate.main, f"{study_file()} --set grid.seeds=1", tmp_path, monkeypatch)
    assert set(seconds) == {"full_data p=0.25", "random p=0.25", "entropy p=0.25 T=3"}
    assert all(estimated > 0 and took > 0 and wall > 0 for estimated, took, wall in seconds.values())
    in_all = [sum(column) for column in zip(*seconds.values(), strict=True)]
    assert f"{in_all[0] / in_all[1]:.2f}" in capsys.readouterr().out.splitlines()[-1]


def test_the_loop_of_the_benchmark_is_the_network(spec: SpecFactory) -> None:
    """Without dropout the usual loop gives what the project's network gives: the same work is compared."""
    weights = {name: 3 * value for name, value in Lstm(spec(), Execution()).initial_weights(mc_scoring.VOCABULARY + 2, 2, 0).items()}
    reviews = invented_reviews(5, 12)
    found = mc_scoring.loop_log_probs(weights, torch.from_numpy(reviews.token_ids_NL), torch.from_numpy(reviews.lengths_N), 0.0)
    expected = Distributions(Lstm(spec(), Execution()), weights, reviews, np.arange(5)).deterministic()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = run(training.main, "--hidden-dim 4 --steps 2 --repeats 1", tmp_path, monkeypatch)
    assert [row["variant"] for row in rows] == ["plain", "torch", "compiled", "torch", "compiled"]
    assert rows[0]["speed_over_plain"] == 1


def test_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Scored by the very same network, so the picks of float32 differ from themselves in nothing but the order of sums."""
    rows = run(precision.main, "--seeds 1 --labels 20 --arms", tmp_path, monkeypatch)
    by_torch = [row["differing"] for row in rows["picks"] if row["variant"] == "float32 by torch"]
    assert len(by_torch) == 9
    assert max(by_torch) <= 0.05
    assert "picks that differ" in capsys.readouterr().out
