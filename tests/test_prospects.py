"""What a study can show, said before it is run: floors, power, and every warning, from the study file alone."""

import json
from typing import Any

import pytest

from sweep.launch import main
from sweep.prospects import prospects
from sweep.study import Study
from tests.conftest import TINY_STUDY, StudyWriter


def told(**sections: Any) -> dict[str, Any]:
    grid = {"seeds": 10, "acquisition": ["random", "softmax_entropy", "entropy"]}
    content = {**TINY_STUDY, "grid": {**TINY_STUDY["grid"], **grid}, "baseline": {"full_data": True}}
    for name, changes in sections.items():
        content[name] = {**content.get(name, {}), **changes}
    return prospects(Study.model_validate(content))


def test_batches_that_the_passes_cannot_tell_apart() -> None:
    def warnings(passes: int) -> list[str]:
        content = {**TINY_STUDY, "grid": {**TINY_STUDY["grid"], "acquisition": ["random", "batch_bald"], "mc_passes": [2, passes]}}
        return [warning for warning in prospects(Study.model_validate(content))["warnings"] if warning.startswith("batch_bald")]

    assert warnings(10) == []
    (warning,) = warnings(5)
    assert "5 passes hold 1.6 nats in all" in warning
    assert "of a batch of 10" in warning


def test_ten_seeds_by_hand() -> None:
    """2/1024 and 1/1024; dz 1.139 at .025 (Holm over two); Q1's power is .29 at an SD of one point (STATISTICS of the paired t test)."""
    found = told()
    assert found["warnings"] == []
    assert found["q1"]["smallest_p"] == 1 / 1024
    assert found["q1"]["power_by_seed_sd"]["0.01"] == pytest.approx(0.29, abs=0.005)
    assert found["q2"]["smallest_p"] == 2 / 1024
    assert found["q2"]["contrasts"] == 2
    assert found["q2"]["mde80_in_sds"] == pytest.approx(1.139, abs=0.001)
    assert found["q1"]["arm"] == {"acquisition": "entropy", "dropout_rate": 0.25, "mc_passes": 3}


@pytest.mark.parametrize(
    ("sections", "warning"),
    [
        ({"grid": {"seeds": 5}}, "Q1 can only be INCONCLUSIVE: with 5 seeds no one-sided p can fall below 0.0312 (alpha 0.025)"),
        ({"grid": {"seeds": 5}}, "Q2 can never be BETTER or WORSE: with 5 seeds no two-sided p can fall below 0.0625, and 0.025 is needed"),
        ({"grid": {"seeds": 5}}, "5 seeds: a smoke test, not a study; a confirmatory one starts at 10 seeds"),
        ({"grid": {"seeds": 6}}, "Q2 can never be BETTER or WORSE: with 6 seeds no two-sided p can fall below 0.0312, and 0.025 is needed"),
        (
            {"grid": {"seeds": 7}},
            "Q1 can never be YES: with 7 seeds no p can fall below 0.00781, but 'better than random' over 4 budgets needs",
        ),
        ({"baseline": {"full_data": False}}, "Q1 cannot be answered without the full-data model; set baseline.full_data: true"),
        ({"grid": {"acquisition": ["random"]}}, "Q1 cannot be answered without an acquisition function other than random"),
        ({"grid": {"acquisition": ["softmax_entropy", "entropy"]}}, "Q1 cannot be answered without random choice"),
        ({"grid": {"acquisition": ["random", "entropy"]}}, "Q2 cannot be answered without softmax_entropy; add it to grid.acquisition"),
        ({"grid": {"mc_passes": 1}}, "Q2 cannot be answered: without dropout, or with T = 1, no uncertainty is modelled"),
        (
            {"protocol": {"label_budgets": [10]}},
            "the area under a curve needs two label budgets with accuracy_deterministic, and there is 1",
        ),
        ({"analysis": {"q2": {"metric": "accuracy_mc"}}}, "needs two label budgets with accuracy_mc, and there is 1"),
        (
            {"analysis": {"q1": {"metric": "accuracy_mc"}}, "protocol": {"eval_mc_budgets": "none"}},
            "its metric accuracy_mc is measured nowhere; name protocol.eval_mc_budgets",
        ),
    ],
)
def test_what_makes_a_verdict_impossible_is_named(sections: dict[str, Any], warning: str) -> None:
    found = told(**sections)["warnings"]
    assert any(warning in told for told in found), found


def test_the_dry_run_says_it(study_file: StudyWriter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([str(study_file()), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "warning: Q1 can only be INCONCLUSIVE: with 2 seeds" in " ".join(printed.split())
    assert max(map(len, printed.splitlines()[3:])) <= 80
    assert main([str(study_file()), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["can_show"]["seeds"] == 2
