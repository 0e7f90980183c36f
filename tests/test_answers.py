"""Every verdict on tables in which the truth is planted, with its sentence; and the numbers under it, worked by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.elsewhere import read_table
from analysis.frames import Results
from analysis.q1 import answer_q1
from analysis.q2 import answer_q2
from tests.planted import ALL_LABELS, BUDGETS, Mean, learning, planted, raised
from trainables.spec import FULL_DATA


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Reads a table through the public door; keywords change the plan of Q1 or Q2."""

    def read(table: pd.DataFrame, q1: dict[str, Any] | None = None, q2: dict[str, Any] | None = None) -> Results:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        table.to_parquet(path)
        results = read_table(path)
        plan = results.plan
        plan = plan.model_copy(update={"q1": plan.q1.model_copy(update=q1 or {}), "q2": plan.q2.model_copy(update=q2 or {})})
        return replace(results, plan=plan)

    return read


def q1(results: Results) -> dict[str, Any]:
    return answer_q1(results, results.plan.q1, np.random.default_rng(0))


def q2(results: Results) -> dict[str, Any]:
    return answer_q2(results, results.plan.q2, np.random.default_rng(0))


def saturating(learner: str, from_labels: int, floor: float = 0.80) -> Mean:
    """`learner` is as good as the full-data model from so many labels on; everything else stays at `floor` + a rise."""

    def mean(acquisition: str, dropout_rate: float, mc_passes: int | None, labels: int) -> float:
        if acquisition == FULL_DATA or (acquisition == learner and labels >= from_labels):
            return 0.86
        return floor + 0.005 * float(np.log2(labels / 100))

    return mean


class TestQ1:
    def test_yes(self, read: Any) -> None:
        found = q1(read(planted(saturating("entropy", 400))))
        assert found["verdict"] == "YES"
        assert found["b_star"] == 400
        assert found["saving"] == 1 - 400 / ALL_LABELS
        assert [row["status"] for row in found["ladder"]] == ["passed", "passed", "passed", "failed", "not tested"]
        assert found["ladder"][-1]["p_value"] is None
        assert found["gates"]["assay_sensitivity"]["holds"]
        assert 400 in found["gates"]["beats_random"]["better_at"]
        assert found["gates"]["closure"] is None
        assert found["sentence"] == (
            "Chosen by entropy p=0.25 T=10, 400 labels, 94% fewer than all 6,400, are shown to be enough for an accuracy no more than 0.50 "
            "points below that of the same model trained on all labels; random choice of as many labels is shown to be less accurate."
        )
        assert found["would_change"].startswith("The claim at 400 labels would hold with any margin above ")

    def test_yes_without_active_learning(self, read: Any) -> None:
        def both(a: str, p: float, t: int | None, b: int) -> float:
            return 0.86 if a == FULL_DATA or b >= 400 else 0.80

        found = q1(read(planted(both)))
        assert found["verdict"] == "YES_WITHOUT_ACTIVE_LEARNING"
        assert found["b_star"] == 400
        assert "Fewer labels suffice; active learning is not needed: random choice reaches the margin there too" in found["sentence"]

    def test_yes_but_random_was_neither_beaten_nor_good_enough(self, read: Any) -> None:
        table = planted(saturating("entropy", 400), noise=0.0005)
        shaky = (table["acquisition"] == "random") & (table["num_labelled"] >= 400)
        table.loc[shaky, "accuracy_deterministic"] += np.where(table.loc[shaky, "seed"] % 2 == 0, 0.15, -0.05)
        found = q1(read(table))
        assert found["verdict"] == "YES_WITHOUT_ACTIVE_LEARNING"
        assert (
            "is not shown to be better than random choice there, so the saving cannot be put down to active learning" in found["sentence"]
        )

    def test_no(self, read: Any) -> None:
        found = q1(read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA else 0.80)))
        assert found["verdict"] == "NO"
        assert found["b_star"] is None
        assert found["saving"] is None
        assert all(row["upper"] < -0.005 for row in found["ladder"])
        assert found["sentence"] == (
            "At every budget up to 1,600 labels, entropy p=0.25 T=10 is shown to be more than 0.50 points less accurate than the same "
            "model trained on all 6,400 labels."
        )
        assert "larger label budgets would change the verdict, more seeds alone would not" in found["would_change"]

    def test_inconclusive_at_the_largest_budget(self, read: Any) -> None:
        found = q1(read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA or b == 1600 else 0.80, noise=0.02)))
        assert found["verdict"] == "INCONCLUSIVE"
        assert found["b_star"] is None
        assert "at the largest budget, 1,600 labels, it is" in found["sentence"]
        assert "which is not above -0.50" in found["sentence"]

    def test_inconclusive_without_assay_sensitivity(self, read: Any) -> None:
        """Random choice is as good as all labels from the start: a margin that cannot tell a 64th of the labels from all proves nothing."""
        found = q1(read(planted(lambda a, p, t, b: 0.86)))
        assert found["verdict"] == "INCONCLUSIVE"
        assert found["b_star"] == 100
        assert not found["gates"]["assay_sensitivity"]["holds"]
        assert "even random choice of 100 labels is not shown to be more than 0.50 points worse" in found["sentence"]

    def test_inconclusive_with_five_seeds_whatever_they_say(self, read: Any) -> None:
        found = q1(read(planted(saturating("entropy", 400), seeds=5, noise=0.001)))
        assert found["verdict"] == "INCONCLUSIVE"
        assert "with 5 seeds no test can reach the level 0.025" in found["sentence"]
        assert found["ladder"][0]["p_value"] == 1 / 32
        assert found["ladder"][0]["lower"] is None
        assert "about 6 seeds would show it" in found["would_change"]

    def test_all_labels_are_no_saving(self, read: Any) -> None:
        budgets = (*BUDGETS, ALL_LABELS)
        found = q1(read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA or b == ALL_LABELS else 0.80, budgets=budgets)))
        assert found["b_star"] == ALL_LABELS
        assert found["saving"] == 0
        assert found["verdict"] == "INCONCLUSIVE"
        assert "only with all labels is it shown to be within the margin" in found["sentence"]
        assert found["gates"]["closure"]["holds"]

    def test_closure_fails_where_all_labels_do_not_give_the_full_data_model(self, read: Any) -> None:
        found = q1(read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA else 0.84, budgets=(*BUDGETS, ALL_LABELS))))
        assert not found["gates"]["closure"]["holds"]
        assert found["gates"]["closure"]["estimate"] == pytest.approx(-0.02, abs=0.005)

    def test_what_passes_below_a_failure_is_not_claimed(self, read: Any) -> None:
        dip = planted(lambda a, p, t, b: 0.86 if a == FULL_DATA or (a == "entropy" and b != 800) else 0.80)
        found = q1(read(dip))
        assert [row["status"] for row in found["ladder"]] == ["passed", "failed", "not tested", "not tested", "not tested"]
        assert found["b_star"] == 1600

    def test_by_hand(self, read: Any) -> None:
        """Six seeds, .004 below the full-data model each: p is the floor 1/64 and both limits are the one value there is."""
        found = q1(read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA else 0.856 if a == "entropy" else 0.8, seeds=6, noise=0)))
        top = found["ladder"][0]
        assert top["p_value"] == 1 / 64
        assert top["estimate"] == pytest.approx(-0.004)
        assert top["lower"] == pytest.approx(-0.004)
        assert top["upper"] == pytest.approx(-0.004)
        assert found["b_star"] == 100

    @pytest.mark.parametrize(
        ("without", "reason"),
        [
            (FULL_DATA, "there is no full-data model at p=0.25"),
            ("random", "there is no random arm"),
        ],
    )
    def test_what_is_missing_is_said(self, read: Any, without: str, reason: str) -> None:
        table = planted(saturating("entropy", 400))
        found = q1(read(table[table["acquisition"] != without]))
        assert found["verdict"] == "INCONCLUSIVE"
        assert reason in found["sentence"]

    def test_one_arm(self, read: Any) -> None:
        table = planted(acquisitions=["random"])
        results = read(table[table["acquisition"] == "random"])
        assert "no arm but random is there to be compared" in q1(results)["sentence"]
        assert "no trajectory of entropy with dropout and T above 1 is finished" in q2(results)["sentence"]

    def test_other_arms_share_the_level(self, read: Any) -> None:
        """Two arms succeed at every budget and pass their share on, so the third is tested at the full level."""
        names = ("random", "softmax_entropy", "entropy", "bald")
        found = q1(read(planted(lambda a, p, t, b: 0.80 if a in ("random", "bald") else 0.86, acquisitions=names, noise=0.001)))
        by_arm = {row["arm"]: row for row in found["cells"]}
        assert by_arm["entropy p=0.25 T=10"]["b_star"] == 100
        assert by_arm["bald p=0.25 T=10"] == {"arm": "bald p=0.25 T=10", "n": 10, "b_star": None, "alpha": 0.025}

    def test_pairs_are_dropped_as_pairs(self, read: Any) -> None:
        table = planted(saturating("entropy", 400))
        found = q1(read(table[~((table["acquisition"] == "entropy") & (table["seed"] == 3))]))
        assert found["n"] == 9
        assert found["dropped"] == [3]
        assert found["gates"]["assay_sensitivity"]["n"] == 10


class TestQ2:
    def test_better(self, read: Any) -> None:
        found = q2(read(planted(raised("entropy", by=0.01))))
        assert found["verdict"] == "BETTER"
        assert found["contrasts"][0]["p_value"] == 2 / 1024
        assert found["contrasts"][0]["p_adjusted"] == 4 / 1024
        assert found["contrasts"][0]["estimate"] == pytest.approx(0.01, abs=0.004)
        assert found["sentence"].startswith(
            "Modelling uncertainty helps here: averaged along the learning curve, accuracy with labels chosen by"
        )
        assert "smaller than what matters" not in found["sentence"]

    def test_worse(self, read: Any) -> None:
        found = q2(read(planted(raised("softmax_entropy", by=0.01))))
        assert found["verdict"] == "WORSE"
        assert found["sentence"].startswith("Modelling uncertainty hurts here")

    def test_better_but_smaller_than_what_matters(self, read: Any) -> None:
        found = q2(read(planted(raised("entropy", by=0.001), noise=0.0002)))
        assert found["verdict"] == "BETTER"
        assert found["sentence"].endswith("The difference is smaller than what matters (0.25 points).")

    def test_equivalent(self, read: Any) -> None:
        found = q2(read(planted(noise=0.001)))
        assert found["verdict"] == "EQUIVALENT"
        assert "makes no difference that matters here" in found["sentence"]
        assert -0.0025 < found["contrasts"][0]["ci90_low"] < found["contrasts"][0]["ci90_high"] < 0.0025
        assert found["would_change"].endswith("equivalence would not be shown.")

    def test_inconclusive_with_what_it_could_have_found(self, read: Any) -> None:
        found = q2(read(planted(noise=0.02)))
        row = found["contrasts"][0]
        assert found["verdict"] == "INCONCLUSIVE"
        assert row["mde80"] == pytest.approx(1.139 * row["sd"], rel=0.001)  # dz of n = 10 at alpha .025: Holm over two
        assert row["seeds_needed"] > 100
        assert "differences of" in found["would_change"]

    def test_five_seeds_are_never_significant(self, read: Any) -> None:
        found = q2(read(planted(raised("entropy", by=0.05), seeds=5)))
        assert found["verdict"] == "INCONCLUSIVE"
        assert found["contrasts"][0]["p_value"] == 2 / 32

    def test_cells_are_averaged_within_seed(self, read: Any) -> None:
        """Of four cells one is 4 points better: the marginal effect is 1 point, n stays the number of seeds."""

        def mean(a: str, p: float, t: int | None, b: int) -> float:
            return learning(a, p, t, b) + (0.04 if (a, p, t) == ("entropy", 0.5, 20) else 0)

        found = q2(read(planted(mean, rates=(0.25, 0.5), passes=(5, 20), noise=0)))
        assert found["contrasts"][0]["n"] == 10
        assert found["contrasts"][0]["estimate"] == pytest.approx(0.01)
        assert len(found["cells"]) == 4

    def test_no_dropout_and_a_single_pass_take_no_part(self, read: Any) -> None:
        def mean(a: str, p: float, t: int | None, b: int) -> float:
            return learning(a, p, t, b) + (0.3 if a == "entropy" and (p == 0 or t == 1) else 0.01 if a == "entropy" else 0)

        found = q2(read(planted(mean, rates=(0.0, 0.25), passes=(1, 10), noise=0)))
        assert found["cells"] == ["entropy p=0.25 T=10"]
        assert found["contrasts"][0]["estimate"] == pytest.approx(0.01)

    def test_the_twin_is_taken_at_the_same_dropout_rate(self, read: Any) -> None:
        """Every arm is 10 points better at p = .5: no contrast sees it."""
        found = q2(read(planted(lambda a, p, t, b: learning(a, p, t, b) + 0.1 * (p == 0.5), rates=(0.25, 0.5), noise=0)))
        assert found["contrasts"][0]["estimate"] == pytest.approx(0, abs=1e-12)

    def test_secondary_measures_are_one_family(self, read: Any) -> None:
        names = ("random", "softmax_entropy", "entropy", "bald", "mean_std")
        found = q2(read(planted(raised("bald", by=0.02), acquisitions=names)))
        assert [row["contrast"] for row in found["secondary"]] == [
            "bald - softmax_entropy",
            "bald - random",
            "mean_std - softmax_entropy",
            "mean_std - random",
        ]
        assert found["secondary"][0]["p_value"] == 2 / 1024
        assert found["secondary"][0]["p_adjusted"] == pytest.approx(4 * 2 / 1024)

    def test_acquisition_and_prediction_are_told_apart(self, read: Any) -> None:
        """MC prediction adds .002 whoever chose the labels; MC acquisition adds .01 whoever predicts."""
        found = q2(read(planted(raised("entropy", by=0.01), noise=0)))
        accuracy, nll = found["two_by_two"]
        effects = {row["effect"]: row["estimate"] for row in accuracy["effects"]}
        assert effects == pytest.approx(
            {
                "acquisition effect, deterministic prediction": 0.01,
                "acquisition effect, MC prediction": 0.01,
                "prediction effect, entropy": 0.002,
                "prediction effect, softmax_entropy": 0.002,
            }
        )
        assert nll["metric"] == "nll"
        assert nll["effects"][2]["estimate"] == pytest.approx(-0.1)

    def test_missing_twin(self, read: Any) -> None:
        found = q2(read(planted(acquisitions=("random", "entropy"))))
        assert found["verdict"] == "INCONCLUSIVE"
        assert found["sentence"] == "Q2 cannot be answered: no trajectory of softmax_entropy is finished."
        assert found["contrasts"][0]["n"] == 0
        assert found["contrasts"][1]["n"] == 10

    def test_one_label_budget_has_no_area(self, read: Any) -> None:
        found = q2(read(planted(budgets=(100,))))
        assert "measured at fewer than two label budgets" in found["sentence"]
