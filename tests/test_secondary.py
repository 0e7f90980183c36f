"""What explains a verdict: cells, trends, labels to a target with censoring, cost, robustness; on planted tables, by hand."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.drawing import style_of
from analysis.findings import findings
from analysis.frames import read_study
from analysis.secondary import along_the_curve, cells, cost, labels_to_reach, trends
from sweep.folder import StudyFolder
from sweep.plan import make_plan
from sweep.study import Study
from tests.conftest import TINY_STUDY, RoundsReader
from tests.planted import learning, planted, raised
from tests.reporting import seal
from trainables.acquisition import ACQUISITIONS
from trainables.corpus import Corpus
from trainables.spec import FULL_DATA
from trainables.storage import LocalStorage

RNG = np.random.default_rng


def test_every_cell_against_twin_and_random(read: RoundsReader) -> None:
    """2 rates x 2 T of entropy against both, 2 twins against random: ten contrasts; only T = 20 is better."""

    def mean(a: str, p: float, t: int | None, b: int) -> float:
        return learning(a, p, t, b) + (0.02 if (a, t) == ("entropy", 20) else 0)

    results = read(planted(mean, rates=(0.1, 0.5), passes=(5, 20), noise=0.002))
    rows = cells(results, results.plan.q2, RNG(0))
    assert len(rows) == 10
    found = {row["contrast"]: row for row in rows}
    best = found["entropy p=0.1 T=20 - softmax_entropy p=0.1"]
    assert best["verdict"] == "BETTER"
    assert best["estimate"] == pytest.approx(0.02, abs=0.004)
    assert best["p_adjusted"] == 2 / 1024
    assert best["p_holm"] == pytest.approx(10 * 2 / 1024)
    assert {row["verdict"] for name, row in found.items() if "T=20" not in name} <= {"EQUIVALENT", "INCONCLUSIVE"}
    assert all(row["p_adjusted"] >= row["p_value"] for row in rows)


def test_functions_that_read_no_passes_are_compared_too(read: RoundsReader) -> None:
    """A deterministic function beside the twin (softmax_margin, or badge) against both; the twin against random; entropy against both."""
    results = read(planted(acquisitions=("random", "softmax_entropy", "softmax_margin", "entropy")))
    rows = cells(results, results.plan.q2, RNG(0))
    assert {row["contrast"] for row in rows} == {
        "softmax_entropy p=0.25 - random p=0.25",
        "softmax_margin p=0.25 - random p=0.25",
        "softmax_margin p=0.25 - softmax_entropy p=0.25",
        "entropy p=0.25 T=10 - random p=0.25",
        "entropy p=0.25 T=10 - softmax_entropy p=0.25",
    }


def test_passes_that_model_nothing_take_no_part(read: RoundsReader) -> None:
    results = read(planted(passes=(1, 10)))
    assert not [row for row in cells(results, results.plan.q2, RNG(0)) if "T=1 " in row["contrast"]]


def test_every_built_in_acquisition_function_is_drawn_its_own_way() -> None:
    styles = {name: tuple(style_of(name).values()) for name in ACQUISITIONS}
    assert len(set(styles.values())) == len(ACQUISITIONS)
    assert tuple(style_of("my_own:function").values()) not in styles.values()


def test_along_the_curve(read: RoundsReader) -> None:
    def mean(a: str, p: float, t: int | None, b: int) -> float:
        return learning(a, p, t, b) + (0.02 if a == "entropy" and b >= 800 else 0)

    results = read(planted(mean, noise=0.001))
    rows = along_the_curve(results, results.plan.q2, RNG(0))
    assert [row["budget"] for row in rows] == [100, 200, 400, 800, 1600]
    assert [row["p_adjusted"] <= 0.05 for row in rows] == [False, False, False, True, True]
    assert rows[-1]["p_value"] == 2 / 1024
    assert rows[-1]["p_adjusted"] == pytest.approx(2 / 1024 * 5 / 2)


def test_a_trend_in_passes(read: RoundsReader) -> None:
    """ALC rises with T in every seed: L = 14 a seed, the largest there is with three levels."""
    results = read(planted(lambda a, p, t, b: learning(a, p, t, b) + (t or 0) / 1000, passes=(5, 10, 20), noise=0.00001))
    found = trends(results, results.plan.q2, RNG(0))
    assert found["page"]["statistic"] == 14 * 10
    assert found["page"]["p_value"] < 1e-4
    assert [row["mc_passes"] for row in found["mc_passes"]] == [5, 10, 20]
    assert [row["estimate"] for row in found["mc_passes"]] == pytest.approx([0.005, 0.010, 0.020], abs=1e-4)
    assert len(found["dropout_rate"]) == 1


def test_two_levels_are_no_trend(read: RoundsReader) -> None:
    results = read(planted(passes=(5, 10)))
    assert trends(results, results.plan.q2, RNG(0))["page"] is None


class TestLabelsToTarget:
    def table(self) -> pd.DataFrame:
        """Entropy is there at 200 in seeds 0-3 and never in seed 4; random at 800 in seeds 0-1, never after; both none in seed 4."""

        def reached(a: str, seed: int) -> int:
            return {"entropy": 200 if seed < 4 else 10**9, "random": 800 if seed < 2 else 10**9}.get(a, 400)

        table = planted(noise=0, seeds=5)
        good = [
            reached(a, s) <= b or a == FULL_DATA for a, s, b in zip(table["acquisition"], table["seed"], table["num_labelled"], strict=True)
        ]
        return table.assign(accuracy_deterministic=np.where(good, 0.86, 0.7))

    def test_by_hand(self, read: RoundsReader) -> None:
        results = read(self.table())
        found = {row["arm"]: row for row in labels_to_reach(results, results.plan.q1)["arms"]}
        entropy = found["entropy p=0.25 T=10"]
        assert entropy["reached"] == 4
        assert entropy["median"] == 200
        assert entropy["labels"] == {"0": 200, "1": 200, "2": 200, "3": 200, "4": None}
        assert [(r["ratio"], r["bound"]) for r in entropy["saving"]["ratios"].values()] == [
            (4, "="),
            (4, "="),
            (8, ">="),
            (8, ">="),
            (None, "unknown"),
        ]
        assert entropy["saving"]["median"] == {"ratio": 4, "bound": ">="}
        assert found["random p=0.25"]["median"] is None
        assert found["random p=0.25"]["curve"] == [[800, pytest.approx(0.6)], [1600, pytest.approx(0.6)]]
        assert found["random p=0.25"]["saving"] is None

    def test_a_median_among_bounds_is_a_bound(self, read: RoundsReader) -> None:
        table = self.table()
        never = (table["acquisition"] == "random") & (table["seed"] > 0)
        results = read(table.assign(accuracy_deterministic=table["accuracy_deterministic"].where(~never, 0.7)))
        found = {row["arm"]: row for row in labels_to_reach(results, results.plan.q1)["arms"]}
        assert found["entropy p=0.25 T=10"]["saving"]["median"] == {"ratio": 8, "bound": ">="}


def test_cost_is_cumulated(read: RoundsReader) -> None:
    """(100 + 200 + ... + 1600) / 100 seconds of training, and 10 a round of scoring for T = 10, 1 without passes."""
    results = read(planted(noise=0))
    found = {row["arm"]: row for row in cost(results, results.plan.q2)}
    assert found["entropy p=0.25 T=10"]["seconds"] == pytest.approx(31 + 50)
    assert found["random p=0.25"]["seconds"] == pytest.approx(31 + 5)
    assert found["random p=0.25"]["points"][0] == [100, pytest.approx(2), pytest.approx(0.751, abs=0.01)]


class TestRobustness:
    def rows(self, results: Any) -> dict[str, Any]:
        return {(row["question"], row["analysis"]): row for row in findings(results)["robustness"]}

    def test_a_large_effect_stands_however_it_is_analysed(self, read: RoundsReader) -> None:
        rows = self.rows(read(planted(raised("entropy", by=0.02), noise=0.002)))
        q2 = {analysis: row for (question, analysis), row in rows.items() if question == "Q2"}
        assert len(q2) == 8
        computed = {analysis: row["agrees"] for analysis, row in q2.items() if row["agrees"] is not None}
        assert len(computed) == 7
        assert all(computed.values())
        assert q2["one seed left out, each in turn"]["outcome"].startswith("same verdict in 10 of 10; estimate from +")
        resampled = q2["seeds and test reviews both resampled (bootstrap)"]
        assert resampled["outcome"] == "not computed: fewer than two seeds have stored predictions of both arms, with test labels"

    def test_an_effect_that_hangs_on_one_metric_disagrees(self, read: RoundsReader) -> None:
        table = planted(raised("entropy", by=0.02), noise=0.002)
        results = read(table.assign(accuracy_mc=table["accuracy_deterministic"] - 0.04 * (table["acquisition"] == "entropy")))
        row = self.rows(results)["Q2", "metric accuracy_mc"]
        assert row["agrees"] is False
        assert row["outcome"].startswith("WORSE, \N{MINUS SIGN}2.")

    def test_other_margins(self, read: RoundsReader) -> None:
        """.75 points short at every budget: not within .25 or .5 points, well within 1."""
        results = read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA else 0.8525 if a == "entropy" else 0.80, noise=0.0005))
        rows = self.rows(results)
        assert rows["Q1", "margin of 0.25 points"]["outcome"] == "NO, b*: none"
        assert rows["Q1", "margin of 1.00 points"] == {
            "question": "Q1",
            "analysis": "margin of 1.00 points",
            "outcome": "YES, b*: 100",
            "agrees": False,
        }

    def test_stored_predictions_are_resampled_with_the_seeds(self, tmp_path: Path, corpus: Corpus) -> None:
        """Entropy is right on 6 of 60 reviews more than its twin, the same ones in both seeds: +10 points, and an interval over reviews."""
        grid = {"seeds": 2, "acquisition": ["softmax_entropy", "entropy"], "dropout_rate": 0.25, "mc_passes": 3}
        study = Study.model_validate(TINY_STUDY | {"baseline": {"full_data": False}, "protocol": {"label_budgets": [10, 20]}, "grid": grid})
        folder, plan = StudyFolder(LocalStorage(tmp_path / "tiny")), make_plan(study, corpus)
        folder.save(study, plan, corpus)
        for spec in plan.specs.values():
            wrong = 10 if spec.acquisition == "entropy" else 16
            said = np.where(np.arange(60) < wrong, 1 - corpus.test.labels_N, corpus.test.labels_N)
            log_probs = np.log(np.where(np.arange(2) == said[:, None], 0.9, 0.1)).astype(np.float32)
            seal(folder, spec, [0.5, 1 - wrong / 60], predictions={"deterministic": log_probs, "mc": log_probs})
        row = self.rows(read_study(folder))["Q2", "seeds and test reviews both resampled (bootstrap)"]
        found = re.fullmatch(r"accuracy at 20 labels: \+10\.00 points \[\+(\d+\.\d\d), \+(\d+\.\d\d)\]", row["outcome"])
        assert found
        assert 2 < float(found[1]) < 5  # binomial(60, .1) / 60: 2.5% and 97.5% quantiles 3.3 and 18.3
        assert 15 < float(found[2]) < 20
