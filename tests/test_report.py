"""From ledgers to a table: means known by hand, nothing dropped in silence, bad input told in a sentence."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.report import main
from sweep.folder import StudyFolder
from sweep.plan import make_plan
from sweep.study import Study
from tests.conftest import TINY_STUDY
from trainables.corpus import Corpus
from trainables.ledger import Ledger
from trainables.rounds import Round, Row
from trainables.spec import TrajectorySpec
from trainables.storage import LocalStorage


def seal(folder: StudyFolder, spec: TrajectorySpec, accuracies: list[float]) -> None:
    """Write a trajectory whose accuracies are known."""
    ledger = Ledger(folder.trajectory(spec.trajectory_id), spec)
    ledger.read()
    attempt = ledger.begin_attempt("launch", {})
    for number, accuracy in enumerate(accuracies):
        last = number == len(accuracies) - 1
        row = Row(
            **{name: getattr(spec, name) for name in ("trajectory_id", "seed", "acquisition", "dropout_rate", "mc_passes")},
            **{f"{name}_{mode}": 0.5 for name in ("nll", "brier", "ece") for mode in ("deterministic", "mc")},
            round=number,
            num_labelled=(spec.label_budgets or (160,))[number],
            accuracy_deterministic=accuracy,
            accuracy_mc=accuracy + 0.01 if last else None,
            accuracy_validation=None,
            acquired_class_balance=None,
            acquired_mean_length=None,
            train_loss=0.1,
            train_objective=0.2,
            gradient_steps=12,
            train_seconds=1.0,
            score_seconds=1.0,
            evaluate_seconds=1.0,
            tokens_per_second=1.0,
            device="cpu",
            initial_set_hash="0",
            initial_weights_hash="0",
        )
        ledger.append(Round(row, ()), attempt)
    ledger.seal()


@pytest.fixture
def study_folder(tmp_path: Path, corpus: Corpus) -> Path:
    """Two seeds of random and entropy: random reaches .6 and .8, entropy .7 in seed 0 and nothing yet in seed 1."""
    study = Study.model_validate(TINY_STUDY | {"baseline": {"full_data": False}, "protocol": {"label_budgets": [10, 20]}})
    folder = StudyFolder(LocalStorage(tmp_path / "tiny"))
    plan = make_plan(study, corpus)
    folder.save(study, plan, corpus)
    for spec in plan.specs.values():
        if spec.acquisition == "random":
            seal(folder, spec, [0.5, 0.6 + 0.2 * spec.seed])
        elif spec.seed == 0:
            seal(folder, spec, [0.5, 0.7])
    return tmp_path / "tiny"


def test_means_by_hand(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(study_folder)]) == 0
    report = json.loads((study_folder / "report" / "report.json").read_text())
    arms = {arm["acquisition"]: arm for arm in report["arms"]}
    assert arms["random"]["mc_passes"] is None
    assert arms["entropy"]["mc_passes"] == 3
    (first, last) = arms["random"]["budgets"]
    assert first == {"num_labelled": 10, "seeds": 2, "accuracy_deterministic": 0.5, "accuracy_mc": None}
    assert last["accuracy_deterministic"] == pytest.approx(0.7)
    assert last["accuracy_mc"] == pytest.approx(0.71)
    assert arms["entropy"]["budgets"][1]["seeds"] == 1
    assert report["trajectories"]["planned"] == 4
    assert report["trajectories"]["finished"] == 3
    assert len(report["trajectories"]["missing"]) == 1
    printed = capsys.readouterr().out
    assert "SYNTHETIC reviews" in printed
    assert "3 of 4 trajectories finished, 0 failed, 1 missing" in printed
    assert max(map(len, (study_folder / "report" / "table.txt").read_text().splitlines())) <= 80


def test_the_table_of_rounds(study_folder: Path, tmp_path: Path) -> None:
    assert main([str(study_folder), "--out", str(tmp_path / "out")]) == 0
    rounds = pd.read_parquet(tmp_path / "out" / "rounds.parquet")
    assert len(rounds) == 6
    assert set(rounds["data_source"]) == {"synthetic"}
    assert set(Row.__annotations__) <= set(rounds.columns)
    assert not (study_folder / "report").exists()


@pytest.mark.parametrize("content", ["nothing", "no plan", "nothing finished", "a torn table", "a foreign table"])
def test_what_cannot_be_reported_is_told(study_folder: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    sealed = sorted(study_folder.glob("trajectories/*/trajectory.parquet"))
    messages = {
        "nothing": "is not the folder of a study",
        "no plan": "it has no plan.json",
        "nothing finished": "none of 4 trajectories is finished yet",
        "a torn table": "trajectory.parquet cannot be read",
        "a foreign table": "is not the sealed table of trajectory",
    }
    match content:
        case "nothing":
            study_folder = study_folder / "nowhere"
        case "no plan":
            (study_folder / "plan.json").unlink()
        case "nothing finished":
            for path in sealed:
                path.unlink()
        case "a torn table":
            sealed[0].write_bytes(sealed[0].read_bytes()[:100])
        case "a foreign table":
            sealed[0].write_bytes(sealed[1].read_bytes())
    assert main([str(study_folder)]) == 2
    assert messages[content] in capsys.readouterr().err.replace("\n", " ")


def test_what_no_cell_asks_for_is_left_out(study_folder: Path, corpus: Corpus) -> None:
    """A sealed trajectory that no cell asks for is no part of the study."""
    study = Study.model_validate(TINY_STUDY | {"baseline": {"full_data": False}, "protocol": {"label_budgets": [10, 20]}})
    stranger = replace(next(iter(make_plan(study, corpus).specs.values())), seed=77)
    seal(StudyFolder(LocalStorage(study_folder)), stranger, [0.1, 0.1])
    assert main([str(study_folder)]) == 0
    assert len(pd.read_parquet(study_folder / "report" / "rounds.parquet")) == 6
