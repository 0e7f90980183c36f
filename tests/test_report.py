"""The command: from ledgers or a table to a page, files and exit code; nothing dropped in silence, bad input told in a sentence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.elsewhere import read_table
from analysis.figures import draw
from analysis.findings import findings
from analysis.page import VERDICTS, render
from analysis.report import main
from analysis.tables import latex, tables
from sweep.folder import StudyFolder
from sweep.plan import make_plan
from tests.planted import planted
from tests.reporting import found_in, seal, tiny, undocumented
from trainables.corpus import Corpus
from trainables.ledger import Ledger
from trainables.rounds import Row
from trainables.storage import LocalStorage


@pytest.fixture
def study_folder(tmp_path: Path, corpus: Corpus) -> Path:
    """Two seeds of random and entropy: random reaches .6 and .8, entropy .7 in seed 0 and nothing yet in seed 1."""
    folder = StudyFolder(LocalStorage(tmp_path / "tiny"))
    plan = make_plan(tiny(), corpus)
    folder.save(tiny(), plan, corpus)
    for spec in plan.specs.values():
        if spec.acquisition == "random":
            seal(folder, spec, [0.5, 0.6 + 0.2 * spec.seed])
        elif spec.seed == 0:
            seal(folder, spec, [0.5, 0.7])
    return tmp_path / "tiny"


class TestAStudyThatIsStillRunning:
    def test_complete_pairs_only(self, study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([str(study_folder)]) == 0
        report = found_in(study_folder / "report")
        assert report["interim"]
        assert "Looking repeatedly and stopping when something is significant is not covered" in report["warnings"][0]
        arms = {curve["arm"]: curve for curve in report["curves"]}
        (first, last) = arms["random p=0.25"]["budgets"]
        assert first["estimate"] == 0.5
        assert last["estimate"] == pytest.approx(0.7)
        assert last["n"] == 2
        assert last["accuracy_mc"] == pytest.approx(0.71)
        assert arms["entropy p=0.25 T=3"]["budgets"][1]["n"] == 1
        over_random = report["q2"]["contrasts"][1]
        assert over_random["n"] == 1
        assert over_random["dropped"] == [1]
        assert over_random["estimate"] == pytest.approx(0.05)  # ALC over one doubling: (.5 + .7) / 2 - (.5 + .6) / 2
        assert report["provenance"]["trajectories"] == {"planned": 4, "finished": 3, "failed": 0, "missing": 1}
        (gap,) = report["provenance"]["gaps"]
        assert (gap["arm"], gap["seed"], gap["reason"]) == ("entropy p=0.25 T=3", 1, "missing")
        printed = capsys.readouterr().out
        assert "SYNTHETIC reviews" in printed
        assert "3 of 4 trajectories finished" in printed
        assert "Q1: INCONCLUSIVE" in printed
        page = (study_folder / "report" / "report.html").read_text()
        assert "SYNTHETIC reviews" in page
        assert "Interim: 1 of 4 trajectories are not there" in page
        assert "2 seeds with complete pairs: a smoke test" in page

    def test_a_failure_is_listed_with_its_error(self, study_folder: Path, corpus: Corpus) -> None:
        folder = StudyFolder(LocalStorage(study_folder))
        spec = next(spec for spec in make_plan(tiny(), corpus).specs.values() if spec.acquisition == "entropy" and spec.seed == 1)
        Ledger(folder.trajectory(spec.trajectory_id), spec).record_failure(ValueError("<script>alert(1)</script>"), {})
        assert main([str(study_folder)]) == 0
        page = (study_folder / "report" / "report.html").read_text()
        assert "failed: ValueError: &lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page
        assert found_in(study_folder / "report")["provenance"]["trajectories"]["failed"] == 1

    def test_the_files(self, study_folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert main([str(study_folder), "--out", str(out)]) == 0
        rounds = pd.read_parquet(out / "rounds.parquet")
        assert len(rounds) == 6
        assert set(Row.__annotations__) <= set(rounds.columns)
        assert not (study_folder / "report").exists()
        figures = {path.name for path in (out / "figures").iterdir()}
        assert {"q1_curves.svg", "q1_curves.pdf", "q2_differences.svg"} <= figures
        assert undocumented(out) == set()
        assert {f"{path.stem}.tex" for path in (out / "tables").glob("*.csv")} == {path.name for path in (out / "tables").glob("*.tex")}


@pytest.mark.parametrize("content", ["nothing", "no plan", "nothing finished", "a torn table", "a foreign table", "a NaN", "not paired"])
def test_what_cannot_be_reported_is_told(study_folder: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str], content: str) -> None:
    sealed = sorted(study_folder.glob("trajectories/*/trajectory.parquet"))
    messages = {
        "nothing": "is not the folder of a study",
        "no plan": "it has no plan.json",
        "nothing finished": "none of 4 trajectories is finished yet",
        "a torn table": "trajectory.parquet cannot be read",
        "a foreign table": "is not the sealed table of trajectory",
        "a NaN": "accuracy_deterministic = nan of entropy p=0.25 T=3, seed 1, 20 labels, is no fraction in [0, 1]",
        "not paired": "the arms of seed 1 are not paired: they differ in initial_weights_hash",
    }
    specs = make_plan(tiny(), corpus).specs.values()
    late = next(spec for spec in specs if spec.acquisition == "entropy" and spec.seed == 1)
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
        case "a NaN":
            seal(StudyFolder(LocalStorage(study_folder)), late, [0.5, 0.6])
            path = study_folder / "trajectories" / late.trajectory_id / "trajectory.parquet"
            table = pq.read_table(path)
            position = table.schema.get_field_index("accuracy_deterministic")
            pq.write_table(table.set_column(position, table.schema.field(position), pa.array([0.5, float("nan")])), path)
        case "not paired":
            seal(StudyFolder(LocalStorage(study_folder)), late, [0.5, 0.6], weights="other")
    assert main([str(study_folder)]) == 2
    assert messages[content] in capsys.readouterr().err.replace("\n", " ")


def test_what_no_cell_asks_for_is_left_out(study_folder: Path, corpus: Corpus) -> None:
    """A sealed trajectory that no cell asks for is no part of the study."""
    stranger = replace(next(iter(make_plan(tiny(), corpus).specs.values())), seed=77)
    seal(StudyFolder(LocalStorage(study_folder)), stranger, [0.1, 0.1])
    assert main([str(study_folder)]) == 0
    assert len(pd.read_parquet(study_folder / "report" / "rounds.parquet")) == 6


class TestThePlan:
    def declare(self, study_folder: Path, analysis: dict[str, Any]) -> None:
        StudyFolder(LocalStorage(study_folder)).write_launch("1", {"command": ["python"], "study": {"analysis": analysis}})

    def test_the_declared_plan_is_the_one_that_is_used(self, study_folder: Path) -> None:
        self.declare(study_folder, tiny().resolved()["analysis"])
        assert main([str(study_folder)]) == 0
        report = found_in(study_folder / "report")
        assert report["plan_changes"] == []
        assert report["plan"]["q1"]["arm"] == {"acquisition": "entropy", "dropout_rate": 0.25, "mc_passes": 3}
        assert "were declared before the study ran" in (study_folder / "report" / "report.html").read_text()

    def test_another_plan_is_named(self, study_folder: Path, tmp_path: Path) -> None:
        self.declare(study_folder, tiny().resolved()["analysis"])
        (tmp_path / "plan.yaml").write_text("analysis: {q1: {margin: 0.02}}")
        assert main([str(study_folder), "--plan", str(tmp_path / "plan.yaml")]) == 0
        report = found_in(study_folder / "report")
        assert report["q1"]["margin"] == 0.02
        plan = tmp_path / "plan.yaml"
        assert report["plan_changes"] == [f"The plan of {plan} was used: analysis.q1.margin = 0.005 at the first launch, 0.02 here"]
        assert report["provenance"]["command"] == f"python -m analysis.report {study_folder} --plan {plan}"
        assert "does not follow a plan that was declared" in (study_folder / "report" / "report.html").read_text()

    def test_a_wrong_plan_is_refused(self, study_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "plan.yaml").write_text("analysis: {q1: {margn: 0.02}}")
        assert main([str(study_folder), "--plan", str(tmp_path / "plan.yaml")]) == 2
        assert "unknown key analysis.q1.margn; did you mean margin?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "a,b\n1,2\n", "lacks the columns acquisition, dropout_rate, seed, num_labelled, accuracy_deterministic; it has a, b"),
        ("none.csv", None, "none.csv cannot be read as a table"),
        ("empty.csv", "", "empty.csv cannot be read as a table"),
        ("bogus://place/study", None, "give a study's folder or a table"),
    ],
)
def test_wrong_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    assert main([name if "://" in name else str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("without", ["random", "softmax_entropy", "entropy", "full_data"])
def test_a_page_without_an_arm_says_so(tmp_path: Path, without: str) -> None:
    table = planted()
    table[table["acquisition"] != without].to_csv(tmp_path / "t.csv", index=False)
    page = render(findings(read_table(tmp_path / "t.csv")), {})
    reasons = {
        "random": "There is no random arm at this dropout rate",
        "softmax_entropy": "no trajectory of softmax_entropy is finished",
        "entropy": "no trajectory of entropy with dropout and T above 1 is finished",
        "full_data": "there is no full-data model at p=0.25",
    }
    assert reasons[without] in page


ODD_TABLES = {
    "only full data": lambda: planted(seeds=6).query("acquisition == 'full_data'"),
    "only random": lambda: planted(seeds=6).query("acquisition == 'random'"),
    "one seed": lambda: planted(seeds=1),
    "one label budget": lambda: planted(seeds=6, budgets=(100,)),
    "no dropout": lambda: planted(seeds=6, rates=(0.0,)),
    "seventeen seeds": lambda: planted(seeds=17),
    "constant accuracies": lambda: planted(seeds=6).assign(accuracy_deterministic=0.8),
    "other people's names": lambda: planted(seeds=6, acquisitions=("random", "coreset", "<b>x</b>")),
    "no seed in both": lambda: planted(passes=(5, 10)).query(
        "(acquisition != 'entropy' or seed < 5) and (acquisition != 'softmax_entropy' or seed > 4)"
    ),
    "full data at one rate": lambda: planted(seeds=6, rates=(0.1, 0.5)).query("acquisition != 'full_data' or dropout_rate == 0.5"),
    "no MC metrics": lambda: planted(seeds=6).drop(columns=["accuracy_mc", "nll_mc", "train_seconds"]),
}


@pytest.mark.parametrize("name", ODD_TABLES)
def test_whatever_is_there_gets_a_page(tmp_path: Path, name: str) -> None:
    ODD_TABLES[name]().to_csv(tmp_path / "t.csv", index=False)
    found = findings(read_table(tmp_path / "t.csv"))
    page = render(found, draw(found))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(latex(table_name, table).endswith("\\end{tabular}\n") for table_name, table in tables(found).items())
    assert VERDICTS[found["q1"]["verdict"]][1] in page
    assert "<b>x" not in page
