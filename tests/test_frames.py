"""From a table to checked rounds: what cannot be compared is refused with its place, what is missing is listed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.curves import alc, curves, labels_to_target
from analysis.elsewhere import read_table
from sweep.arm import Arm
from tests.planted import planted
from trainables.errors import RequestError


def refused(table: pd.DataFrame, path: Path) -> str:
    table.to_csv(path, index=False)
    with pytest.raises(RequestError) as caught:
        read_table(path)
    return str(caught.value)


def test_csv_and_parquet_are_read_alike(tmp_path: Path) -> None:
    table = planted(seeds=2)
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    one, other = (read_table(tmp_path / name) for name in ("t.csv", "t.parquet"))
    pd.testing.assert_frame_equal(one.rounds, other.rounds, check_dtype=False)
    assert one.arms == [Arm("entropy", 0.25, 10), Arm("random", 0.25, None), Arm("softmax_entropy", 0.25, None)]
    assert one.all_labels == 6400
    assert one.seeds == (0, 1)
    assert one.gaps == ()


def test_a_table_of_five_columns_is_enough(tmp_path: Path) -> None:
    columns = ["acquisition", "dropout_rate", "seed", "num_labelled", "accuracy_deterministic"]
    planted(seeds=2, acquisitions=("random", "softmax_entropy"))[columns].to_csv(tmp_path / "t.csv", index=False)
    results = read_table(tmp_path / "t.csv")
    assert results.plan.q1.arm is not None
    assert results.plan.q1.arm.acquisition == "softmax_entropy"
    assert curves(results, "accuracy_deterministic").budgets == (100, 200, 400, 800, 1600)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="seed"), "t.csv lacks the columns seed; it has acquisition"),
        (lambda t: t.rename(columns={"num_labelled": "num_labeled"}), "lacks the columns num_labelled"),
        (lambda t: t.iloc[:0], "has no rows"),
        (lambda t: pd.concat([t, t.iloc[[3]]]), "has two results for 400 labels; a seed counts once in an arm"),
        (
            lambda t: t.assign(accuracy_deterministic=t["accuracy_deterministic"] * 100),
            "must be a fraction in [0, 1] (percent: divide by 100)",
        ),
        (
            lambda t: t.assign(accuracy_deterministic=t["accuracy_deterministic"].astype(object).where(t.index != 4, "good")),
            "in row 6 is 'good'",
        ),
        (
            lambda t: t.assign(accuracy_deterministic=t["accuracy_deterministic"].where(t.index != 4)),
            "in row 6 is empty, and must be a fraction",
        ),
        (lambda t: t.assign(seed=t["seed"] + 0.5), "seed in row 2 is 0.5, and must be a whole number"),
        (lambda t: t.assign(num_labelled=0), "num_labelled in row 2 is 0, and must be a whole number, 1 or more"),
        (lambda t: t.assign(dropout_rate=1.5), "dropout_rate in row 2 is 1.5, and must be in [0, 1)"),
        (lambda t: t.assign(nll_mc=np.inf), "nll_mc in row 2 is inf, and must be a finite number"),
        (lambda t: t.assign(train_seconds="long"), "train_seconds in row 2 is 'long'"),
        (lambda t: t.assign(acquisition=t["acquisition"].where(t.index != 4)), "acquisition in row 6 is empty"),
        (lambda t: pd.concat([t, t.iloc[[0]].assign(num_labelled=9)]), "has several rows; the full-data model has one"),
        (lambda t: t.assign(num_labelled=t["num_labelled"] + t.index), "no seed of any arm has all label budgets of its arm"),
        (
            lambda t: t.assign(initial_set_hash=[f"{i % 2}" for i in range(len(t))]),
            "the arms of seed 0 are not paired: they differ in initial_set",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    assert message in refused(change(planted(seeds=2).reset_index(drop=True)), tmp_path / "t.csv")


def test_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(RequestError, match="cannot be read as a table"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(RequestError, match="cannot be read as a table"):
        read_table(tmp_path / "none.csv")


def test_what_is_missing_is_listed(tmp_path: Path) -> None:
    """A seed without an arm, and a trajectory that ends early: both are gaps, and the rest stays."""
    table = planted(seeds=3)
    entropy = table["acquisition"] == "entropy"
    gone = (entropy & (table["seed"] == 1)) | ((table["acquisition"] == "random") & (table["seed"] == 2) & (table["num_labelled"] > 400))
    table[~gone].to_csv(tmp_path / "t.csv", index=False)
    results = read_table(tmp_path / "t.csv")
    assert results.is_interim
    assert [(gap.arm, gap.seed, gap.reason) for gap in results.gaps] == [
        ("entropy p=0.25 T=10", 1, "missing"),
        ("random p=0.25", 2, "has 3 of 5 label budgets"),
    ]
    assert list(curves(results, "accuracy_deterministic").of(Arm("random", 0.25, None)).index) == [0, 1]


def test_a_metric_that_some_seeds_lack_is_refused(tmp_path: Path) -> None:
    table = planted(seeds=3).reset_index(drop=True)
    table["accuracy_mc"] = table["accuracy_mc"].where(~((table["acquisition"] == "entropy") & (table["seed"] == 1)))
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(RequestError, match=r"accuracy_mc of entropy p=0.25 T=10 at 100 labels is missing for seeds 1 only"):
        curves(read_table(tmp_path / "t.csv"), "accuracy_mc")


def frame(*accuracies: float, budgets: tuple[int, ...]) -> pd.DataFrame:
    return pd.DataFrame([accuracies], columns=list(budgets), index=[0])


class TestAlc:
    def test_a_perfect_learner_scores_one(self) -> None:
        assert alc(frame(1, 1, 1, budgets=(100, 300, 1000)))[0] == pytest.approx(1)

    def test_by_hand(self) -> None:
        """Two doublings, .6 to .8 and .8 to .9: (.7 + .85) / 2; on the linear axis the second counts twice."""
        assert alc(frame(0.6, 0.8, 0.9, budgets=(100, 200, 400)))[0] == pytest.approx(0.775)
        assert alc(frame(0.6, 0.8, 0.9, budgets=(100, 200, 400)), "linear")[0] == pytest.approx((0.7 + 2 * 0.85) / 3)

    def test_one_budget_has_no_area(self) -> None:
        with pytest.raises(ValueError, match="two label budgets, not 1"):
            alc(frame(0.5, budgets=(100,)))

    @given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.integers(1, 500), st.floats(-0.3, 0.3))
    def test_it_lies_between_the_extremes_and_moves_with_the_curve(self, accuracies: list[float], start: int, shift: float) -> None:
        budgets = tuple(start * 2**i for i in range(len(accuracies)))
        area = alc(frame(*accuracies, budgets=budgets))[0]
        assert min(accuracies) - 1e-12 <= area <= max(accuracies) + 1e-12
        assert alc(frame(*(a + shift for a in accuracies), budgets=budgets))[0] == pytest.approx(area + shift)


def test_labels_to_target() -> None:
    """The first budget at the target counts, though the curve falls below it again."""
    curve = np.array([0.6, 0.8, 0.75, 0.9])
    assert labels_to_target(curve, (10, 20, 40, 80), 0.8) == 20
    assert labels_to_target(curve, (10, 20, 40, 80), 0.91) is None


def test_its_own_rounds_can_be_read_again(tmp_path: Path) -> None:
    planted(seeds=2).to_parquet(tmp_path / "t.parquet")
    first = read_table(tmp_path / "t.parquet")
    first.rounds.to_parquet(tmp_path / "again.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "again.parquet").rounds, first.rounds, check_like=True)


def test_a_t_where_it_means_nothing_is_no_arm_of_its_own(tmp_path: Path) -> None:
    planted(seeds=2).assign(mc_passes=10).to_csv(tmp_path / "t.csv", index=False)
    assert Arm("random", 0.25, None) in read_table(tmp_path / "t.csv").arms


def test_other_peoples_acquisition_functions_answer_q1(tmp_path: Path) -> None:
    planted(acquisitions=("random", "coreset")).to_csv(tmp_path / "t.csv", index=False)
    results = read_table(tmp_path / "t.csv")
    assert results.plan.q1.arm is not None
    assert results.arm_of(results.plan.q1.arm) == Arm("coreset", 0.25, 10)
