"""Q2: every verdict on tables in which the truth is planted, with its sentence; and the numbers under it, worked by hand."""

from typing import Any

import numpy as np
import pytest

from analysis.findings import findings
from analysis.frames import Results
from analysis.q2 import answer_q2
from tests.conftest import RoundsReader
from tests.planted import learning, planted, raised


def q2(results: Results) -> dict[str, Any]:
    return answer_q2(results, results.plan.q2, np.random.default_rng(0))


class TestQ2:
    def test_better(self, read: RoundsReader) -> None:
        found = q2(read(planted(raised("entropy", by=0.01))))
        assert found["verdict"] == "BETTER"
        assert found["contrasts"][0]["p_value"] == 2 / 1024
        assert found["contrasts"][0]["p_adjusted"] == 4 / 1024
        assert found["contrasts"][0]["estimate"] == pytest.approx(0.01, abs=0.004)
        assert found["sentence"].startswith(
            "Modelling uncertainty helps here: averaged along the learning curve, accuracy with labels chosen by"
        )
        assert "smaller than what matters" not in found["sentence"]

    def test_worse(self, read: RoundsReader) -> None:
        found = q2(read(planted(raised("softmax_entropy", by=0.01))))
        assert found["verdict"] == "WORSE"
        assert found["sentence"].startswith("Modelling uncertainty hurts here")

    def test_better_but_smaller_than_what_matters(self, read: RoundsReader) -> None:
        found = q2(read(planted(raised("entropy", by=0.001), noise=0.0002)))
        assert found["verdict"] == "BETTER"
        assert found["sentence"].endswith("The difference is smaller than what matters (0.25 points).")

    def test_equivalent(self, read: RoundsReader) -> None:
        found = q2(read(planted(noise=0.001)))
        assert found["verdict"] == "EQUIVALENT"
        assert "makes no difference that matters here" in found["sentence"]
        assert -0.0025 < found["contrasts"][0]["ci90_low"] < found["contrasts"][0]["ci90_high"] < 0.0025
        assert found["would_change"].endswith("equivalence would not be shown.")

    def test_inconclusive_with_what_it_could_have_found(self, read: RoundsReader) -> None:
        found = q2(read(planted(noise=0.02)))
        row = found["contrasts"][0]
        assert found["verdict"] == "INCONCLUSIVE"
        assert row["mde80"] == pytest.approx(1.139 * row["sd"], rel=0.001)  # dz of n = 10 at alpha .025: Holm over two
        assert row["seeds_needed"] > 100
        assert "differences of" in found["would_change"]

    def test_five_seeds_are_never_significant(self, read: RoundsReader) -> None:
        found = q2(read(planted(raised("entropy", by=0.05), seeds=5)))
        assert found["verdict"] == "INCONCLUSIVE"
        assert found["contrasts"][0]["p_value"] == 2 / 32
        assert found["contrasts"][0]["mde80"] is None
        assert "With 5 seeds, no difference can be shown, however large, because no p can be small enough" in found["would_change"]

    def test_cells_are_averaged_within_seed(self, read: RoundsReader) -> None:
        """Of four cells one is 4 points better: the marginal effect is 1 point, n stays the number of seeds."""

        def mean(a: str, p: float, t: int | None, b: int) -> float:
            return learning(a, p, t, b) + (0.04 if (a, p, t) == ("entropy", 0.5, 20) else 0)

        found = q2(read(planted(mean, rates=(0.25, 0.5), passes=(5, 20), noise=0)))
        assert found["contrasts"][0]["n"] == 10
        assert found["contrasts"][0]["estimate"] == pytest.approx(0.01)
        assert len(found["cells"]) == 4

    def test_no_dropout_and_a_single_pass_take_no_part(self, read: RoundsReader) -> None:
        def mean(a: str, p: float, t: int | None, b: int) -> float:
            return learning(a, p, t, b) + (0.3 if a == "entropy" and (p == 0 or t == 1) else 0.01 if a == "entropy" else 0)

        found = q2(read(planted(mean, rates=(0.0, 0.25), passes=(1, 10), noise=0)))
        assert found["cells"] == ["entropy p=0.25 T=10"]
        assert found["contrasts"][0]["estimate"] == pytest.approx(0.01)

    def test_the_twin_is_taken_at_the_same_dropout_rate(self, read: RoundsReader) -> None:
        """Every arm is 10 points better at p = .5: no contrast sees it."""
        found = q2(read(planted(lambda a, p, t, b: learning(a, p, t, b) + 0.1 * (p == 0.5), rates=(0.25, 0.5), noise=0)))
        assert found["contrasts"][0]["estimate"] == pytest.approx(0, abs=1e-12)

    def test_a_cell_without_its_twin_is_left_out_and_named(self, read: RoundsReader) -> None:
        table = planted(raised("entropy", by=0.01), rates=(0.1, 0.25), noise=0)
        results = read(table[~((table["acquisition"] == "softmax_entropy") & (table["dropout_rate"] == 0.1))])
        found = findings(results)
        assert found["q2"]["contrasts"][0]["cells"] == ["entropy p=0.25 T=10"]
        assert len(found["q2"]["contrasts"][1]["cells"]) == 2
        assert found["q2"]["two_by_two"]
        assert "Q2 is not averaged over entropy p=0.1 T=10: there is no softmax_entropy at that dropout rate." in found["warnings"]

    def test_budgets_that_an_arm_lacks_are_named(self, read: RoundsReader) -> None:
        table = planted(noise=0)
        results = read(table[~((table["acquisition"] == "entropy") & (table["num_labelled"] < 400))])
        assert findings(results)["warnings"] == [
            "Label budgets that not every arm has are left out of all curves: 100, 200; lacking in entropy p=0.25 T=10."
        ]

    def test_secondary_measures_are_one_family(self, read: RoundsReader) -> None:
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

    def test_acquisition_and_prediction_are_told_apart(self, read: RoundsReader) -> None:
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

    def test_missing_twin(self, read: RoundsReader) -> None:
        found = q2(read(planted(acquisitions=("random", "entropy"))))
        assert found["verdict"] == "INCONCLUSIVE"
        assert found["sentence"] == "Q2 cannot be answered: no trajectory of softmax_entropy is finished."
        assert found["contrasts"][0]["n"] == 0
        assert found["contrasts"][1]["n"] == 10

    def test_one_label_budget_has_no_area(self, read: RoundsReader) -> None:
        found = q2(read(planted(budgets=(100,))))
        assert "measured at fewer than two label budgets" in found["sentence"]
