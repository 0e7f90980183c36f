"""Q1: every verdict on tables in which the truth is planted, with its sentence; and the numbers under it, worked by hand."""

import re
from typing import Any

import numpy as np
import pytest

from analysis.frames import Results
from analysis.q1 import answer_q1
from analysis.q2 import answer_q2
from tests.conftest import RoundsReader
from tests.planted import ALL_LABELS, BUDGETS, Mean, planted
from trainables.spec import FULL_DATA


def q1(results: Results) -> dict[str, Any]:
    return answer_q1(results, results.plan.q1, np.random.default_rng(0))


def saturating(learner: str, from_labels: int, floor: float = 0.80) -> Mean:
    """`learner` is as good as the full-data model from so many labels on; everything else stays at `floor` + a rise."""

    def mean(acquisition: str, dropout_rate: float, mc_passes: int | None, labels: int) -> float:
        if acquisition == FULL_DATA or (acquisition == learner and labels >= from_labels):
            return 0.86
        return floor + 0.005 * float(np.log2(labels / 100))

    return mean


class TestQ1:
    def test_yes(self, read: RoundsReader) -> None:
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
        assert re.fullmatch(
            r"With a margin of 0\.[0-4]\d points or less, 400 labels would not be shown to be enough; "
            r"with one of [56]\.\d\d points or more, the margin could not tell 400 labels from random choice at the start of the ladder\.",
            found["would_change"],
        )

    def test_yes_without_active_learning(self, read: RoundsReader) -> None:
        def both(a: str, p: float, t: int | None, b: int) -> float:
            return 0.86 if a == FULL_DATA or b >= 400 else 0.80

        found = q1(read(planted(both)))
        assert found["verdict"] == "YES_WITHOUT_ACTIVE_LEARNING"
        assert found["b_star"] == 400
        assert "Fewer labels suffice; active learning is not needed: random choice reaches the margin there too" in found["sentence"]

    def test_yes_but_random_was_neither_beaten_nor_good_enough(self, read: RoundsReader) -> None:
        table = planted(saturating("entropy", 400), noise=0.0005)
        shaky = (table["acquisition"] == "random") & (table["num_labelled"] >= 400)
        table.loc[shaky, "accuracy_deterministic"] += np.where(table.loc[shaky, "seed"] % 2 == 0, 0.15, -0.05)
        found = q1(read(table))
        assert found["verdict"] == "YES_WITHOUT_ACTIVE_LEARNING"
        assert (
            "is not shown to be better than random choice there (\N{MINUS SIGN}0.01 points), so the saving cannot be put down to"
            in found["sentence"]
        )

    def test_the_margins_that_would_do_are_those_of_the_whole_ladder(self, read: RoundsReader) -> None:
        """b* is at 800 with a lower limit of +.1 points, but 1,600 passes by less: its limit of -.2 is what a margin has to exceed."""

        def dip(a: str, p: float, t: int | None, b: int) -> float:
            return 0.86 if a == FULL_DATA else {800: 0.861, 1600: 0.858}.get(b, 0.82) if a == "entropy" else 0.80

        results = read(planted(dip, noise=0))
        found = q1(results)
        assert found["b_star"] == 800
        assert found["would_change"].startswith("With a margin of 0.20 points or less, 800 labels would not be shown to be enough")
        smaller = results.plan.q1.model_copy(update={"margin": 0.0019})
        assert answer_q1(results, smaller, np.random.default_rng(0))["b_star"] is None

    def test_seven_seeds_can_never_beat_random_over_five_budgets(self, read: RoundsReader) -> None:
        """P is the floor, 1/128; Holm over five needs .005. The sentence says that the seeds are too few, not that random did as well."""
        found = q1(read(planted(saturating("entropy", 400), seeds=7, noise=0.001)))
        assert found["verdict"] == "YES_WITHOUT_ACTIVE_LEARNING"
        assert "which 7 seeds can never show over 5 budgets" in found["sentence"]
        assert found["gates"]["beats_random"]["rows"][0]["mde80"] is None

    def test_no(self, read: RoundsReader) -> None:
        found = q1(read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA else 0.80)))
        assert found["verdict"] == "NO"
        assert found["b_star"] is None
        assert found["saving"] is None
        assert all(row["upper"] < -0.005 for row in found["ladder"])
        assert found["sentence"] == (
            "At every budget up to 1,600 labels, entropy p=0.25 T=10 is shown to be more than 0.50 points less accurate than the same "
            "model trained on all 6,400 labels."
        )
        assert "larger label budgets, which were not tried, could change the verdict; more seeds alone would not" in found["would_change"]

    def test_inconclusive_at_the_largest_budget(self, read: RoundsReader) -> None:
        found = q1(read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA or b == 1600 else 0.80, noise=0.02)))
        assert found["verdict"] == "INCONCLUSIVE"
        assert found["b_star"] is None
        assert "at the largest budget, 1,600 labels, it is" in found["sentence"]
        assert "which is not above \N{MINUS SIGN}0.50" in found["sentence"]

    def test_inconclusive_without_assay_sensitivity(self, read: RoundsReader) -> None:
        """Random choice is as good as all labels from the start: a margin that cannot tell a 64th of the labels from all proves nothing."""
        found = q1(read(planted(lambda a, p, t, b: 0.86)))
        assert found["verdict"] == "INCONCLUSIVE"
        assert found["b_star"] == 100
        assert not found["gates"]["assay_sensitivity"]["holds"]
        assert "even random choice of 100 labels is not shown to be more than 0.50 points worse" in found["sentence"]

    def test_inconclusive_with_five_seeds_whatever_they_say(self, read: RoundsReader) -> None:
        found = q1(read(planted(saturating("entropy", 400), seeds=5, noise=0.001)))
        assert found["verdict"] == "INCONCLUSIVE"
        assert "with 5 seeds no test can reach the level 0.025" in found["sentence"]
        assert found["ladder"][0]["p_value"] == 1 / 32
        assert found["ladder"][0]["lower"] is None
        assert "about 6 seeds would show it" in found["would_change"]

    def test_all_labels_are_no_saving(self, read: RoundsReader) -> None:
        budgets = (*BUDGETS, ALL_LABELS)
        found = q1(read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA or b == ALL_LABELS else 0.80, budgets=budgets, noise=0.002)))
        assert found["b_star"] == ALL_LABELS
        assert found["saving"] == 0
        assert found["verdict"] == "INCONCLUSIVE"
        assert "only with all labels is it shown to be within the margin" in found["sentence"]
        assert found["gates"]["closure"]["holds"]

    def test_closure_fails_where_all_labels_do_not_give_the_full_data_model(self, read: RoundsReader) -> None:
        found = q1(read(planted(lambda a, p, t, b: 0.86 if a == FULL_DATA else 0.84, budgets=(*BUDGETS, ALL_LABELS))))
        assert not found["gates"]["closure"]["holds"]
        assert found["gates"]["closure"]["estimate"] == pytest.approx(-0.02, abs=0.005)

    def test_what_passes_below_a_failure_is_not_claimed(self, read: RoundsReader) -> None:
        dip = planted(lambda a, p, t, b: 0.86 if a == FULL_DATA or (a == "entropy" and b != 800) else 0.80)
        found = q1(read(dip))
        assert [row["status"] for row in found["ladder"]] == ["passed", "failed", "not tested", "not tested", "not tested"]
        assert found["b_star"] == 1600

    def test_by_hand(self, read: RoundsReader) -> None:
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
    def test_what_is_missing_is_said(self, read: RoundsReader, without: str, reason: str) -> None:
        table = planted(saturating("entropy", 400))
        found = q1(read(table[table["acquisition"] != without]))
        assert found["verdict"] == "INCONCLUSIVE"
        assert reason in found["sentence"]

    def test_one_arm(self, read: RoundsReader) -> None:
        table = planted(acquisitions=["random"])
        results = read(table[table["acquisition"] == "random"])
        assert "no arm but random is there to be compared" in q1(results)["sentence"]
        assert (
            "no trajectory of entropy with dropout and T above 1 is finished"
            in answer_q2(results, results.plan.q2, np.random.default_rng(0))["sentence"]
        )

    def test_other_arms_share_the_level(self, read: RoundsReader) -> None:
        """Two arms succeed at every budget and pass their share on, so the third is tested at the full level."""
        names = ("random", "softmax_entropy", "entropy", "bald")
        found = q1(read(planted(lambda a, p, t, b: 0.80 if a in ("random", "bald") else 0.86, acquisitions=names, noise=0.001)))
        by_arm = {row["arm"]: row for row in found["cells"]}
        assert by_arm["entropy p=0.25 T=10"]["b_star"] == 100
        assert by_arm["bald p=0.25 T=10"] == {"arm": "bald p=0.25 T=10", "n": 10, "b_star": None, "alpha": 0.025}

    def test_pairs_are_dropped_as_pairs(self, read: RoundsReader) -> None:
        table = planted(saturating("entropy", 400))
        found = q1(read(table[~((table["acquisition"] == "entropy") & (table["seed"] == 3))]))
        assert found["n"] == 9
        assert found["dropped"] == [3]
        assert found["gates"]["assay_sensitivity"]["n"] == 10
