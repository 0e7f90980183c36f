"""Cost before running: counts by hand, seconds by given rates, and what a launch says of its estimate afterwards."""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sweep import estimate as module
from sweep.cost import Rates, Work, total, work_of
from sweep.estimate import Calibration, actual, calibrate, estimate
from sweep.launch import main
from sweep.plan import Plan, make_plan
from sweep.sections import Resources
from sweep.study import Study
from tests.conftest import TINY_STUDY, SpecFactory, StudyWriter
from tests.launching import finish
from trainables.corpus import Corpus
from trainables.spec import TrajectorySpec

RATES = Rates(round_seconds=1.0, step_seconds=0.1, pass_seconds=2.0, token_seconds=0.001, choice_seconds={"batch_bald": 0.01, "epig": 0.5})


def planned(corpus: Corpus, **sections: Any) -> Plan:
    content = dict(TINY_STUDY)
    for name, value in sections.items():
        content[name] = {**content.get(name, {}), **value}
    return make_plan(Study.model_validate(content), corpus)


def test_a_round_trains_on_what_is_labelled_by_then(spec: SpecFactory, corpus: Corpus) -> None:
    """Budgets 10 to 40 in batches of 8: 10 epochs are 13, 25, 38 and 50 steps; a tenth that is kept out leaves 9, 18, 27 and 36 reviews."""
    assert [work.gradient_steps for work in work_of(spec(epochs=10.0), corpus)] == [13, 25, 38, 50]
    assert [work.gradient_steps for work in work_of(spec(epochs=10.0, validation_fraction=0.1), corpus)] == [12, 23, 34, 45]


def test_work_by_hand(spec: SpecFactory, corpus: Corpus) -> None:
    """Budgets 10 to 40 in batches of 8, 2 epochs, at least 12 steps: 12 steps a round. T = 3 passes over 100, 100 and 100 reviews.

    Each round is evaluated by one pass, the last by 3 more; 100 reviews are ten times the batch of 10.
    """
    rounds = work_of(spec(acquisition="entropy", mc_passes=3), corpus)
    work, mean = total(rounds), corpus.train.num_tokens / 160
    assert [work.passes for work in rounds] == [4, 4, 4, 4]
    assert [work.evaluated_tokens for work in rounds] == [corpus.test.num_tokens * passes for passes in (1, 1, 1, 4)]
    assert (work.rounds, work.gradient_steps, work.passes, work.choices) == (4, 48, 4 + 3 + 9, 0)
    assert work.trained_tokens == pytest.approx(48 * 8 * mean)
    assert work.scored_tokens == pytest.approx(3 * 300 * mean)
    assert work.evaluated_tokens == 7 * corpus.test.num_tokens
    assert work.tokens == pytest.approx(9 * work.trained_tokens + work.scored_tokens + work.evaluated_tokens)


@pytest.mark.parametrize(
    ("changes", "passes", "reviews", "choices"),
    [
        ({"acquisition": "random", "mc_passes": None}, 0, 0, 0),
        ({"acquisition": "softmax_entropy", "mc_passes": None}, 3, 300, 0),
        ({"acquisition": "badge", "mc_passes": None}, 3, 300, 3 * 100 * 10),
        ({"acquisition": "k_center", "mc_passes": None}, 6, 300 + 10 + 20 + 30, 3 * 100 * 10),
        ({"acquisition": "epig", "mc_passes": 5}, 15, 1500, 300),
        ({"acquisition": "batch_bald", "mc_passes": 5}, 15, 1500, 3000),
        ({"acquisition": "full_data", "mc_passes": None, "label_budgets": None, "pool_subsample": None, "eval_mc_budgets": ()}, 0, 0, 0),
    ],
)
def test_what_scoring_takes(spec: SpecFactory, corpus: Corpus, changes: dict[str, Any], passes: int, reviews: int, choices: float) -> None:
    """Three rounds acquire, each from 100 reviews; k_center reads its labelled set as well."""
    one: TrajectorySpec = spec(**changes)
    work = total(work_of(one, corpus))
    evaluations = one.num_rounds + 3 * len(one.eval_mc_budgets)
    assert work.passes == passes + evaluations
    assert work.scored_tokens == pytest.approx(reviews * corpus.train.num_tokens / 160)
    assert work.choices == choices


def test_what_no_mask_touches_is_counted_once(spec: SpecFactory, corpus: Corpus) -> None:
    output_only = spec(acquisition="entropy", mc_passes=3, word_dropout=0.0, input_dropout=0.0, recurrent_dropout=0.0)
    assert total(work_of(output_only, corpus)).passes == 4 + 3
    features = spec(acquisition="entropy", mc_passes=3, classifier="mlp", input_dropout=0.0)
    assert total(work_of(features, corpus)).passes == 4 + 3


def test_seconds_are_counts_times_rates() -> None:
    work = Work(rounds=2, gradient_steps=30, trained_tokens=1e9, passes=4, scored_tokens=500, evaluated_tokens=1500, choices=10)
    assert RATES.seconds(work, "random") == pytest.approx(2 + 3 + 8 + 2)
    assert RATES.seconds(work, "epig") == pytest.approx(15 + 5)
    assert total([work, work]).passes == 8


def test_hours_wall_time_and_money(corpus: Corpus) -> None:
    """Four trajectories of 10, 10, 10 and 30 s beside 2 x 5 s of full data, two at a time: the longest first, 45 s, after the start."""
    plan = planned(corpus, grid={"acquisition": ["random", "entropy"]})
    by_arm = {"full_data": 5.0, "random": 10.0, "entropy": 30.0}
    specs = list(plan.specs.values())
    seconds = {acquisition: (Work(rounds=int(seconds * 0.2)), Work(rounds=int(seconds * 0.8))) for acquisition, seconds in by_arm.items()}
    plan = dataclasses.replace(plan, work={spec.trajectory_id: seconds[spec.acquisition] for spec in specs})
    calibration = Calibration(dataclasses.replace(RATES, round_seconds=1.0), places=2)
    everything = dict.fromkeys(plan.specs, 0)
    found = estimate(plan, calibration, Resources(cpu=2, price_per_hour=3.6), everything)
    assert found["hours"] == found["hours_in_all"] == pytest.approx(90 * 2 / 3600)
    assert found["money"] == pytest.approx(90 * 2 / 1000)
    assert found["wall_seconds"] == pytest.approx(module.START_SECONDS + 45)
    assert (found["unit"], found["places"]) == ("core", 2)

    begun = {spec.trajectory_id: 1 for spec in specs if spec.acquisition == "entropy"}
    partly = estimate(plan, calibration, Resources(gpu=0.25), begun)
    assert partly["hours"] == pytest.approx(2 * 24 * 0.25 / 3600)
    assert partly["hours_in_all"] == pytest.approx(90 * 0.25 / 3600)
    assert (partly["unit"], partly["money"]) == ("GPU", None)
    assert estimate(plan, calibration, Resources(), {})["wall_seconds"] == 0


def test_estimate_and_actual_are_of_the_same_rounds() -> None:
    found = actual(Resources(cpu=2), computed_seconds=3600.0, estimated_seconds=1800.0, wall_seconds=2000.0)
    assert found == {"hours": 2.0, "estimated_hours": 1.0, "ratio": 0.5, "wall_seconds": 2000.0}
    assert actual(Resources(), 0.0, None, 1.0)["ratio"] is None


class TestCalibration:
    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AL_SWEEP_CACHE", str(tmp_path / "cache"))

    def test_it_measures_once(self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = planned(corpus, grid={"acquisition": ["random", "epig", "batch_bald", "k_center", "badge"]})
        rates = calibrate(plan, corpus, Resources()).rates
        assert rates is not None
        assert set(rates.choice_seconds) == {"epig", "batch_bald", "k_center", "badge"}
        assert min(rates.round_seconds, rates.step_seconds, rates.token_seconds, *rates.choice_seconds.values()) > 0
        monkeypatch.setattr(module, "_measured", lambda *arguments: pytest.fail("measured twice"))
        assert calibrate(plan, corpus, Resources()).rates == rates
        with_more_seeds = planned(corpus, grid={"seeds": 7, "acquisition": ["random", "epig", "batch_bald", "k_center", "badge"]})
        assert calibrate(with_more_seeds, corpus, Resources()).rates == rates

    def test_a_damaged_cache_is_measured_again(self, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        measured = {**dataclasses.asdict(RATES), "devices": 0}
        monkeypatch.setattr(module, "_measured", lambda *arguments: measured)
        plan = planned(corpus)
        calibrate(plan, corpus, Resources())
        (path,) = (tmp_path / "cache" / "calibrations").iterdir()
        for text in ("", "[]", '{"round_seconds": 1}'):
            path.write_text(text)
            assert calibrate(plan, corpus, Resources()).rates == RATES

    def test_where_nothing_can_be_measured_the_reason_is_told(self, corpus: Corpus) -> None:
        """No machine of the tests has so many GPUs; a plug-in that is not there fails in the calibration as it will in a trial."""
        plan = planned(corpus)
        broken = {i: dataclasses.replace(spec, classifier="no_such_module_of_mine:Net") for i, spec in plan.specs.items()}
        found = calibrate(dataclasses.replace(plan, specs=broken), corpus, Resources())
        assert found.rates is None
        assert "no_such_module_of_mine:Net cannot be imported" in str(found.reason)
        told = estimate(plan, found, Resources(price_per_hour=1.0), dict.fromkeys(plan.specs, 0))
        assert (told["hours"], told["wall_seconds"], told["money"]) == (None, None, None)
        assert told["tokens"]["training"] > 0

    def test_a_calibration_that_hangs_is_given_up(self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
        def hang(*arguments: Any, **options: Any) -> None:
            raise subprocess.TimeoutExpired("calibration", options["timeout"])

        monkeypatch.setattr(subprocess, "run", hang)
        assert "timed out after 120" in str(calibrate(planned(corpus), corpus, Resources()).reason)


def test_the_dry_run_tells_it(study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = study_file(resources={"price_per_hour": 1000})
    assert main([str(path), "--storage", str(tmp_path), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "core-minutes" in text
    assert "at 1000 an hour)" in text
    assert "tokens: training" in text
    assert main([str(path), "--storage", str(tmp_path), "--dry-run", "--json", "--address", "auto"]) == 0
    found = json.loads(capsys.readouterr().out)["estimate"]
    assert found["money"] == pytest.approx(found["hours"] * 1000)
    assert found["elsewhere"] is True


def test_a_launch_keeps_its_estimate_beside_what_it_took(study_file: StudyWriter, tmp_path: Path) -> None:
    path, storage = study_file(), tmp_path / "results"
    finish(path, storage)
    (record,) = (json.loads(file.read_text()) for file in (storage / "tiny" / "launches").iterdir())
    assert record["estimate"]["hours"] == pytest.approx(record["actual"]["estimated_hours"])  # all of it was run
    assert record["actual"]["hours"] > 0
    report = json.loads((storage / "tiny" / "report" / "report.json").read_text())
    (launch,) = report["provenance"]["launches"]
    assert launch["actual"] == record["actual"]
    assert "estimated before" in (storage / "tiny" / "report" / "report.html").read_text()
