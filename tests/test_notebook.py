"""Results in a notebook: the same numbers as the report's, any two arms, any family, and wrong requests told."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import load_study
from analysis.multiplicity import holm
from analysis.notebook import LoadedStudy
from analysis.report import main
from sweep.folder import StudyFolder
from sweep.plan import make_plan
from sweep.study import Study
from tests.conftest import TINY_STUDY
from tests.planted import ALL_LABELS, BUDGETS, planted, raised
from tests.reporting import found_in, seal
from trainables.corpus import Corpus
from trainables.errors import RequestError
from trainables.rounds import Row
from trainables.storage import LocalStorage

GRID: dict[str, Any] = {"acquisitions": ("random", "softmax_entropy", "entropy", "bald"), "rates": (0.1, 0.5), "passes": (5, 10)}
ARM = "entropy p=0.5 T=10"
RANDOM = "random p=0.5"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dropout rates and two T; entropy is a point better than all others everywhere."""
    path = tmp_path_factory.mktemp("notebook") / "planted.parquet"
    planted(raised("entropy", by=0.01), **GRID).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def study(table: Path) -> LoadedStudy:
    return load_study(table)


def hand_made(tmp_path: Path, a: list[list[float]], b: list[list[float]]) -> LoadedStudy:
    """Arms x and random with these accuracies, a row a seed, at 100 and 400 labels; the full-data model always has .9."""
    rows = [
        {"acquisition": name, "dropout_rate": 0.25, "seed": seed, "num_labelled": labels, "accuracy_deterministic": value}
        for name, curves in (("x", a), ("random", b), ("full_data", [[0.9]] * len(a)))
        for seed, curve in enumerate(curves)
        for labels, value in zip((100, 400) if len(curve) == 2 else (1000,), curve, strict=True)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "hand.csv", index=False)
    return load_study(tmp_path / "hand.csv")


class TestTheReportsNumbers:
    def test_are_the_notebooks_to_the_last_digit(self, table: Path, study: LoadedStudy, tmp_path: Path) -> None:
        assert main([str(table), "--out", str(tmp_path)]) == 0
        report = found_in(tmp_path)
        assert study.q1() == report["q1"]
        assert study.q2() == report["q2"]
        assert json.dumps(study.findings()["cells"]) == json.dumps(report["cells"])
        own = [
            (row["arm"], p["budget"], p["n"], p["estimate"], p["ci_low"], p["ci_high"]) for row in report["curves"] for p in row["budgets"]
        ]
        names = ["arm", "budget", "n", "estimate", "ci_low", "ci_high"]
        assert [tuple(row) for row in study.curves()[names].itertuples(index=False)] == own

    def test_with_flips_that_are_drawn(self, tmp_path: Path) -> None:
        """Above 16 seeds the signs are random: the same seed gives the same bytes, whatever was asked before."""
        path = tmp_path / "many.parquet"
        planted(seeds=18).to_parquet(path)
        assert main([str(path), "--out", str(tmp_path / "out")]) == 0
        report = found_in(tmp_path / "out")
        study = load_study(path)
        study.contrast("entropy", "random")
        assert study.q2() == report["q2"]
        assert study.q1() == report["q1"]
        assert json.dumps(study.findings()["robustness"]) == json.dumps(report["robustness"])

    def test_a_contrast_is_a_cell_of_the_effect_table(self, study: LoadedStudy) -> None:
        (cell,) = (row for row in study.findings()["cells"] if row["contrast"] == f"{ARM} - {RANDOM}")
        found = study.contrast(ARM, RANDOM)
        adjusted = {"p_adjusted", "p_holm", "verdict", "mde80", "seeds_needed"}
        assert {key: value for key, value in found.items() if key not in adjusted} == {k: v for k, v in cell.items() if k not in adjusted}

    def test_the_marginal_contrast_is_that_of_q2(self, study: LoadedStudy) -> None:
        primary = study.q2()["contrasts"][0]
        found = study.marginal("entropy", "softmax_entropy")
        assert (found["estimate"], found["p_value"], found["differences"]) == tuple(
            primary[k] for k in ("estimate", "p_value", "differences")
        )

    def test_holm_over_a_family(self, study: LoadedStudy) -> None:
        effects = [study.contrast(f"{name} p=0.5 T=10", RANDOM) for name in ("entropy", "bald")]
        effects.append(study.contrast("softmax_entropy p=0.5", RANDOM))
        family = study.family(effects)
        assert list(family["p_adjusted"]) == holm([row["p_value"] for row in effects])
        assert list(family["verdict"]) == ["BETTER", "INCONCLUSIVE", "INCONCLUSIVE"]
        for row, effect in zip(family.to_dict("records"), effects, strict=True):
            assert row["mde80"] == pytest.approx(study.mde(effect, comparisons=3))
            assert row["mde80"] > effect["mde80"]


class TestNumbersKnownByHand:
    def test_a_contrast(self, tmp_path: Path) -> None:
        """Six seeds, each better by .01 at 100 labels and by .03 at 400: .02 over the two doublings, p = 2 / 2^6."""
        low, high = [[0.5, 0.6]] * 6, [[0.51, 0.63]] * 6
        study = hand_made(tmp_path, high, low)
        area = study.contrast("x", "random")
        assert area["n"] == 6
        assert area["estimate"] == pytest.approx(0.02)
        assert area["p_value"] == 2 / 64
        assert (area["ci_low"], area["ci_high"]) == (pytest.approx(0.02), pytest.approx(0.02))
        assert study.contrast("x", "random", budget=400)["estimate"] == pytest.approx(0.03)
        assert study.contrast("x", "full_data", budget=400)["estimate"] == pytest.approx(-0.27)
        assert study.contrast("full_data", "x", budget=400)["contrast"] == "full_data p=0.25 - x p=0.25"
        assert study.by_seed("x").to_numpy().tolist() == high
        assert study.alc()["x p=0.25"].tolist() == pytest.approx([0.57] * 6)

    def test_what_five_seeds_cannot_show(self, tmp_path: Path) -> None:
        study = hand_made(tmp_path, [[0.51, 0.63]] * 5, [[0.5, 0.6]] * 5)
        row = study.contrast("x", "random")
        assert row["p_value"] == 2 / 32
        assert row["ci_low"] is None
        assert row["verdict"] == "INCONCLUSIVE"
        assert (100 * study.curves()["ci_low"]).isna().all()
        assert (100 * study.family([row])["ci_low"]).isna().all()
        assert study.family([row])["seeds_needed"].isna().all()

    def test_the_smallest_effect_that_is_found(self, tmp_path: Path) -> None:
        """Differences of 1 to 10 hundredths: SD .0302765; ten seeds find .996 of it, twenty .660 (80% power, noncentral t)."""
        steps = [[0.5, 0.5]] * 10
        study = hand_made(tmp_path, [[0.5 + 0.01 * i, 0.5 + 0.01 * i] for i in range(1, 11)], steps)
        row = study.contrast("x", "random")
        assert row["sd"] == pytest.approx(0.0302765, abs=1e-6)
        assert study.mde(row) == row["mde80"]
        assert study.mde(row) == pytest.approx(0.996 * row["sd"], rel=2e-3)
        assert study.mde(row, seeds=20) == pytest.approx(0.660 * row["sd"], rel=2e-3)
        assert study.mde(row, seeds=5) is None
        assert study.seeds_needed(row, 0.996 * row["sd"] * 1.001) == 10
        assert study.seeds_needed(row, 0.02, comparisons=2) == 25  # power .7926 at 24, .8122 at 25 (noncentral t, by scipy)
        assert study.seeds_needed(row, 0.0) is None

    def test_labels_to_a_target(self, tmp_path: Path) -> None:
        """Arm x reaches .6 at 100 labels in all seeds; random at 400 in two of three, and never in the third."""
        study = hand_made(tmp_path, [[0.6, 0.7]] * 3, [[0.5, 0.6], [0.5, 0.6], [0.5, 0.55]])
        found = study.labels_to_target(0.6).set_index("arm")
        assert found.loc["x p=0.25", ["n", "reached", "median", "saving", "saving_bound"]].tolist() == [3, 3, 100, 4, "="]
        assert found.loc["random p=0.25", ["n", "reached", "median"]].tolist() == [3, 2, 400]
        assert study.labels_to_target(0.65).set_index("arm").loc["x p=0.25", "saving_bound"] == ">="
        assert study.labels_to_target().set_index("arm").loc["x p=0.25", "reached"] == 0
        assert study.labels_to_target(margin=0.2).set_index("arm").loc["x p=0.25", "median"] == 400


class TestWhatIsThere:
    def test_rounds_are_a_tidy_copy(self, study: LoadedStudy) -> None:
        arms = 2 * (2 + 2 * 2)
        assert len(study.rounds) == 10 * (arms * len(BUDGETS) + 2)
        assert not study.rounds.duplicated(["arm", "seed", "num_labelled"]).any()
        own = study.rounds
        own["accuracy_deterministic"] = np.nan
        assert study.rounds["accuracy_deterministic"].notna().all()
        assert repr(study) == "<study planted: 140 of 140 trajectories, 12 arms, 10 seeds>"
        assert study.gaps.empty
        assert int(study.rounds["num_labelled"].max()) == ALL_LABELS

    def test_other_metrics_have_curves(self, study: LoadedStudy) -> None:
        nll = study.curves("nll_mc")
        assert list(nll["budget"].unique()) == list(BUDGETS)
        assert nll["estimate"].between(1, 2).all()
        assert study.curves("brier_mc").empty
        assert list(study.curves("brier_mc").columns) == list(nll.columns)

    def test_arms_by_name(self, study: LoadedStudy, tmp_path: Path) -> None:
        assert study.arm(ARM) == study.arm(study.arm(ARM))
        assert study.arm(ARM).mc_passes == 10
        with pytest.raises(RequestError, match=r"'entropy' stands for several arms; give one of entropy p=0.1 T=5, "):
            study.arm("entropy")
        with pytest.raises(RequestError, match=r"'entropi' is no arm of this study; .*; did you mean entropy"):
            study.arm("entropi")
        (tmp_path / "one").mkdir()
        assert str(hand_made(tmp_path / "one", [[0.5, 0.6]], [[0.5, 0.6]]).arm("random")) == "random p=0.25"

    def test_another_question_than_the_declared_one(self, study: LoadedStudy) -> None:
        assert study.q1()["arm"] == "entropy p=0.1 T=5"
        other = study.q1(arm=ARM, margin=0.02)
        assert (other["arm"], other["margin"], other["alpha"]) == (ARM, 0.02, 0.025)
        assert study.q2(mc="bald", delta=0.01)["contrasts"][0]["contrast"] == "bald - softmax_entropy"
        assert study.plan.q1.margin == 0.005

    def test_another_plan(self, table: Path, tmp_path: Path) -> None:
        (tmp_path / "plan.yaml").write_text("analysis: {q1: {margin: 0.02}}")
        assert load_study(table, plan=tmp_path / "plan.yaml").q1()["margin"] == 0.02


def test_a_study_that_runs(tmp_path: Path, corpus: Corpus) -> None:
    """A folder: merged cells keep their names, and what is not finished is a gap."""
    tiny = Study.model_validate(
        TINY_STUDY | {"grid": {"seeds": 2, "acquisition": ["random", "entropy", "margin"], "dropout_rate": 0.25, "mc_passes": 3}}
    )
    folder, plan = StudyFolder(LocalStorage(tmp_path)), make_plan(tiny, corpus)
    folder.save(tiny, plan, corpus)
    specs = [spec for spec in plan.specs.values() if spec.acquisition == "random" or (spec.acquisition == "entropy" and spec.seed == 0)]
    for spec in specs:
        seal(folder, spec, [0.5, 0.6, 0.7, 0.8])
    study = load_study(str(tmp_path))
    assert set(Row.__annotations__) <= set(study.rounds.columns)
    assert len(study.rounds) == 12
    assert study.arm("margin") == study.arm("entropy")
    assert list(study.gaps["arm"].unique()) == ["full_data p=0.25", "entropy p=0.25 T=3"]
    row = study.contrast("margin", "random")
    assert (row["n"], row["dropped"], row["estimate"]) == (1, [1], 0)
    assert repr(study) == "<study tiny: 3 of 6 trajectories, 2 arms, 2 seeds>"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.contrast(ARM, RANDOM, budget=300), "budget = 300 must be a label budget .*: 100, 200, 400, 800, 1600"),
        (lambda s: s.contrast(ARM, "full_data"), "full_data has one number and no curve; give budget="),
        (lambda s: s.contrast(ARM, RANDOM, metric="nll_mc"), "metric = 'nll_mc': Input should be 'accuracy_deterministic' or"),
        (lambda s: s.contrast(ARM, RANDOM, axis="log"), "axis = 'log' must be one of log2, linear"),
        (lambda s: s.contrast(ARM, RANDOM, alpha=5), "alpha = 5: Input should be less than 1"),
        (lambda s: s.family([], alpha=0.0), "alpha = 0.0: Input should be greater than 0"),
        (lambda s: s.alc(axis="log"), "axis = 'log' must be one of"),
        (lambda s: s.curves("accuracy"), "metric = 'accuracy' must be one of accuracy_deterministic, .*; did you mean"),
        (lambda s: s.marginal("random", "entropy"), "random - entropy: no seed has both in every cell"),
        (lambda s: s.labels_to_target(85), r"target = 85 must be an accuracy as a fraction"),
        (lambda s: s.labels_to_target(margin=2.0), "margin = 2.0: Input should be less than 1"),
        (lambda s: s.q2(mc="random"), "analysis.q2.mc = 'random' must be one of"),
        (lambda s: s.q1(arm="coreset"), "'coreset' is no arm of this study"),
    ],
)
def test_wrong_requests_are_told(study: LoadedStudy, ask: Callable[[LoadedStudy], object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        ask(study)


def test_too_few_budgets_for_an_area(tmp_path: Path) -> None:
    planted(budgets=(100,)).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(RequestError, match="needs two label budgets with accuracy_deterministic; there are: 100"):
        load_study(tmp_path / "t.csv").contrast("entropy", "random")


def test_no_results(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not the folder of a study"):
        load_study(tmp_path)


def test_importing_the_package_loads_nothing() -> None:
    program = "import sys, analysis; print([name for name in ('pandas', 'numpy', 'pydantic', 'torch', 'ray') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_reading_a_study_loads_neither_torch_nor_ray(table: Path) -> None:
    program = "import sys; from analysis import load_study; load_study(sys.argv[1]).q2(); print({'torch', 'ray'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program, str(table)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
