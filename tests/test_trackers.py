"""Trackers show what the ledger has, in the right place, once; and whatever befalls one, the study does not notice."""

import io
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from sweep import tracker_callbacks, trackers
from sweep.folder import StudyFolder
from sweep.lease import held
from sweep.runner import context_of
from sweep.study import Study
from sweep.study_file import load_study
from sweep.tracker_callbacks import open_trackers
from sweep.trackers import Tracker, Tracking, metrics_of, tracked
from tests.conftest import TINY_STUDY, SpecFactory, StudyWriter
from tests.launching import DEADLINE_SECONDS, finish
from tests.shown import NEEDS_MLFLOW, NEEDS_WANDB, SLOWER, folder_name, ledger_curves, rounded, stop_in_the_middle, tensorboard_curves
from trainables.errors import RequestError
from trainables.rounds import Row
from trainables.storage import open_storage


def row(number: int = 0, **changes: Any) -> Row:
    values: dict[str, Any] = dict.fromkeys(Row.__dataclass_fields__, 0.5)
    identity = {"trajectory_id": "1", "acquisition": "entropy", "seed": 3, "mc_passes": 5, "round": number, "num_labelled": 10 + number}
    return Row(**values | identity | {"device": "cpu", "initial_set_hash": None, "initial_weights_hash": "a", "nll_mc": None} | changes)


class TestWhatIsShown:
    def test_all_numbers_of_a_round_and_nothing_else(self) -> None:
        shown = metrics_of(row(7))
        assert {"accuracy_deterministic", "train_loss", "gradient_steps", "train_seconds", "num_labelled", "round"} <= set(shown)
        assert not {"device", "trajectory_id", "initial_set_hash", "nll_mc", "seed", "dropout_rate", "mc_passes"} & set(shown)
        assert shown["training_iteration"] == 17  # what Ray's callbacks take as the step
        assert "train_loss" not in metrics_of(row(train_loss=math.nan))

    def test_a_trajectory_is_named_by_arm_and_seed(self, spec: SpecFactory, tmp_path: Path) -> None:
        one = spec(acquisition="bald", mc_passes=5, seed=2)
        trial = tracked(one, "launch-1", tmp_path)
        assert str(trial) == "bald p=0.25 T=5 seed 2"
        assert Path(trial.local_path) == tmp_path / "bald-p0.25-T5" / "seed-2"
        arm = {"acquisition": "bald", "dropout_rate": 0.25, "mc_passes": 5, "seed": 2}
        assert trial.config == arm | {"trajectory_id": one.trajectory_id, "first_launch": "launch-1"}
        assert "mc_passes" not in tracked(spec(), "launch-1", tmp_path).config

    def test_equal_for_all_launches_of_a_folder_and_other_in_another(self, spec: SpecFactory, tmp_path: Path) -> None:
        assert tracked(spec(), "launch-1", tmp_path) == tracked(spec(), "launch-1", tmp_path)
        assert tracked(spec(), "launch-1", tmp_path) != tracked(spec(), "launch-2", tmp_path)
        assert tracked(spec(), "launch-1", tmp_path) != tracked(spec(seed=1), "launch-1", tmp_path)

    def test_no_folder_is_made_where_the_study_went_away(self, spec: SpecFactory, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone is not there"):
            tracked(spec(), "launch-1", tmp_path / "gone" / "tensorboard").init_local_path()
        assert not (tmp_path / "gone").exists()


class Callback:
    """Stands for one of Ray's; does what a test says when a round comes."""

    def __init__(self, on_round: Callable[[], object] = lambda: None) -> None:
        self.on_round = on_round
        self.told: list[tuple[Any, ...]] = []

    def log_trial_start(self, trial: Any) -> None:
        self.told.append(("start", trial))

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, float]) -> None:
        self.on_round()
        self.told.append(("round", trial, iteration))

    def log_trial_end(self, trial: Any, failed: bool) -> None:
        self.told.append(("end", trial, failed))

    def on_experiment_end(self, trials: list[Any]) -> None:
        self.told.append(("over",))


def trial_of(trajectory_id: str) -> Any:
    return f"trial {trajectory_id}"


class TestGuard:
    @pytest.fixture
    def told(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[io.StringIO, Tracking]]:
        monkeypatch.setattr(trackers, "SILENT_SECONDS", 0.05)
        monkeypatch.setattr(trackers, "PATIENCE_SECONDS", 0.3)

        def make(*callbacks: Callback) -> tuple[io.StringIO, Tracking]:
            said = io.StringIO()
            console = Console(file=said, width=300)
            return said, Tracking([Tracker(f"tracker {i}", one, console) for i, one in enumerate(callbacks)], trial_of)

        return make

    def test_everything_arrives_in_order(self, told: Callable[..., tuple[io.StringIO, Tracking]]) -> None:
        one, two = Callback(), Callback()
        said, tracking = told(one, two)
        with tracking:
            tracking.started("1")
            tracking.round_finished(row(0))
            tracking.round_finished(None)
            tracking.round_finished(row(1))
            tracking.ended("1", failed=False)
        assert (
            one.told
            == two.told
            == [("start", "trial 1"), ("round", "trial 1", 0), ("round", "trial 1", 1), ("end", "trial 1", False), ("over",)]
        )
        assert said.getvalue() == ""

    def test_what_is_open_at_the_end_is_ended(self, told: Callable[..., tuple[io.StringIO, Tracking]]) -> None:
        one = Callback()
        _, tracking = told(one)
        with tracking:
            tracking.started("1")
        assert one.told == [("start", "trial 1"), ("end", "trial 1", True), ("over",)]

    def test_a_trial_that_could_not_be_set_up_had_not_begun(self, told: Callable[..., tuple[io.StringIO, Tracking]]) -> None:
        one = Callback()
        said, tracking = told(one)
        with tracking:
            tracking.ended("1", failed=True)
        assert one.told == [("over",)]
        assert said.getvalue() == ""

    def test_one_that_raises_is_one_warning_and_the_other_goes_on(self, told: Callable[..., tuple[io.StringIO, Tracking]]) -> None:
        def fail() -> None:
            raise RuntimeError("the server\nsays [no]")

        broken, other = Callback(fail), Callback()
        said, tracking = told(broken, other)
        with tracking:
            tracking.started("1")
            for number in range(5):
                tracking.round_finished(row(number))
            tracking.ended("1", failed=False)
        assert broken.told == [("start", "trial 1")]
        assert len(other.told) == 8
        (line,) = said.getvalue().splitlines()
        assert line.startswith("tracker 0 is not told any more in this launch (RuntimeError: the server says [no]); the study goes on")

    def test_one_that_hangs_holds_up_nothing(self, told: Callable[..., tuple[io.StringIO, Tracking]]) -> None:
        forever = threading.Event()
        said, tracking = told(Callback(lambda: forever.wait(DEADLINE_SECONDS)))
        began = time.monotonic()
        with tracking:
            tracking.started("1")
            for number in range(5):
                tracking.round_finished(row(number))
            assert time.monotonic() - began < DEADLINE_SECONDS / 2
        assert time.monotonic() - began < DEADLINE_SECONDS
        waiting, given_up = said.getvalue().splitlines()
        assert waiting == "waiting for tracker 0 to take what is left; Ctrl-C gives that up"
        assert "it had 7 events still to take at the end of the launch" in given_up
        forever.set()

    def test_one_that_falls_too_far_behind_is_given_up(
        self, told: Callable[..., tuple[io.StringIO, Tracking]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trackers, "MOST_WAITING", 3)
        forever = threading.Event()
        said, tracking = told(Callback(lambda: forever.wait(DEADLINE_SECONDS)))
        with tracking:
            tracking.started("1")
            for number in range(20):
                tracking.round_finished(row(number))
        (line,) = said.getvalue().splitlines()
        assert "it is 3 events behind" in line
        forever.set()


class TestRequest:
    def test_the_shape_of_the_section(self, study_file: StudyWriter) -> None:
        study = load_study(study_file(trackers={"tensorboard": False, "mlflow": "http://localhost:5000", "wandb": "my-project"}))
        assert (study.trackers.tensorboard, study.trackers.mlflow, study.trackers.wandb) == (False, "http://localhost:5000", "my-project")
        default = load_study(study_file()).trackers
        assert (default.tensorboard, default.mlflow, default.wandb) == (True, None, None)

    def test_the_page_shows_a_section_that_can_be_read(self, study_file: StudyWriter) -> None:
        page = (Path(__file__).parent.parent / "docs" / "trackers.md").read_text()
        (block,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
        assert load_study(study_file(**yaml.safe_load(block))).trackers.wandb == "my-project"

    @pytest.mark.parametrize(
        ("section", "rule"),
        [
            ({"mlflow": "https://me:secret@host"}, "trackers.mlflow = .* must be a URI without user and password"),
            ({"wandb": "team/project"}, "trackers.wandb = 'team/project' must be a name of 1 to 128 characters"),
            ({"tensorbord": True}, "unknown key trackers.tensorbord; did you mean tensorboard"),
        ],
    )
    def test_what_is_refused(self, study_file: StudyWriter, section: dict[str, Any], rule: str) -> None:
        with pytest.raises(RequestError, match=rule):
            load_study(study_file(trackers=section))

    def test_what_is_not_installed_is_told_with_its_remedy(
        self, spec: SpecFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tracker_callbacks, "find_spec", lambda name: None)
        study = Study.model_validate(TINY_STUDY | {"trackers": {"tensorboard": False, "mlflow": "http://localhost:5000"}})
        context = context_of(str(tmp_path), study.resources, "launch-1")
        with pytest.raises(RequestError) as refused:
            open_trackers(study, {"1": spec()}, StudyFolder(open_storage(str(tmp_path))), context, Console())
        assert str(refused.value) == (
            "trackers.mlflow = 'http://localhost:5000': the package mlflow is not installed; pip install 'al-sweep[mlflow]', "
            "or --set trackers.mlflow=null"
        )

    @NEEDS_MLFLOW
    def test_a_server_that_does_not_answer_is_a_wrong_request(self, study_file: StudyWriter, tmp_path: Path) -> None:
        output = finish(study_file(trackers={"mlflow": "http://127.0.0.1:9"}), tmp_path / "results", "--no-report", expected=2)
        assert "error: trackers.mlflow = 'http://127.0.0.1:9': it cannot be used" in output
        assert "start the server, or mend the URI, or --set trackers.mlflow=null" in output
        assert not list((tmp_path / "results").rglob("*.*"))

    @NEEDS_WANDB
    def test_nobody_logged_in_is_a_wrong_request(self, study_file: StudyWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            monkeypatch.delenv(name)
        output = finish(study_file(trackers={"wandb": "project"}), tmp_path / "results", "--no-report", expected=2)
        assert "error: trackers.wandb = 'project': it cannot be used" in output
        assert "log in (wandb login), or set WANDB_MODE=offline, or --set trackers.wandb=null" in output
        assert not list((tmp_path / "results").rglob("*.*"))


class TestTensorBoard:
    @pytest.mark.slow
    def test_it_shows_what_the_ledger_has_across_two_launches(self, study_file: StudyWriter, tmp_path: Path) -> None:
        study, folder = study_file(**SLOWER), tmp_path / "results" / "tiny"
        stop_in_the_middle(study, tmp_path / "results")
        first = tensorboard_curves(folder / "tensorboard")
        assert sum(map(len, first.values())) >= 1
        finish(study, tmp_path / "results", "--no-report")
        shown, expected = tensorboard_curves(folder / "tensorboard"), rounded(ledger_curves(folder, folder_name))
        assert set(shown) == set(expected)
        for name, curve in shown.items():
            assert len(set(curve)) == len(curve), "a round was shown twice"
            assert set(curve) <= set(expected[name])
            assert curve[-1] == expected[name][-1]
        missing = sum(map(len, expected.values())) - sum(map(len, shown.values()))
        assert missing <= 2, "more than the rounds whose news Ctrl-C overtook"

    @pytest.mark.slow
    def test_a_study_that_is_shown_nowhere_computes_the_same(self, study_file: StudyWriter, tmp_path: Path) -> None:
        quick = {"grid": {"seeds": 1}, "baseline": {"full_data": False}}
        finish(study_file(**quick), tmp_path / "shown", "--no-report")
        output = finish(study_file(**quick, trackers={"tensorboard": False}), tmp_path / "shown", "--no-report")
        assert "2 of 2 trajectories are finished" in output, "trackers are no part of a study's identity"
        assert yaml.safe_load((tmp_path / "shown" / "tiny" / "study.yaml").read_text())["trackers"]["tensorboard"] is False
        finish(study_file(**quick, trackers={"tensorboard": False}), tmp_path / "hidden", "--no-report")
        assert not (tmp_path / "hidden" / "tiny" / "tensorboard").exists()
        curves = [ledger_curves(tmp_path / name / "tiny", folder_name) for name in ("shown", "hidden")]
        assert curves[0] == curves[1]
        assert rounded(curves[0]) == tensorboard_curves(tmp_path / "shown" / "tiny" / "tensorboard")

    @pytest.mark.slow
    def test_a_folder_that_cannot_be_made_is_one_warning(self, study_file: StudyWriter, tmp_path: Path) -> None:
        folder = tmp_path / "results" / "tiny"
        folder.mkdir(parents=True)
        (folder / "tensorboard").write_text("in the way")
        output = finish(study_file(grid={"seeds": 1}), tmp_path / "results", "--no-report")
        assert output.count("tensorboard is not told any more in this launch") == 1
        assert "3 of 3 trajectories are finished" in output

    def test_at_a_uri_the_files_are_copied_when_a_trial_ends(self, spec: SpecFactory, tmp_path: Path) -> None:
        one = spec()
        study = Study.model_validate(TINY_STUDY)
        context = context_of((tmp_path / "study").as_uri(), study.resources, "launch-1")
        with held(open_storage(context.study), "launch-1"):
            tracking = open_trackers(study, {one.trajectory_id: one}, StudyFolder(open_storage(context.study)), context, Console())
            with tracking:
                tracking.started(one.trajectory_id)
                tracking.round_finished(row(0, trajectory_id=one.trajectory_id, accuracy_deterministic=0.25))
                tracking.round_finished(row(1, trajectory_id=one.trajectory_id, accuracy_deterministic=0.5))
                assert not (tmp_path / "study" / "tensorboard").exists()
                tracking.ended(one.trajectory_id, failed=False)
        assert tensorboard_curves(tmp_path / "study" / "tensorboard") == {"random-p0.25/seed-0": [(10, 0.25), (11, 0.5)]}

    def test_torch_stays_out_of_the_driver(self, spec: SpecFactory, tmp_path: Path) -> None:
        """Its import is what tensorboardX would cost: 190 MB."""
        program = f"""
import sys
from rich.console import Console
from sweep.folder import StudyFolder
from sweep.runner import context_of
from sweep.study import Study
from sweep.tracker_callbacks import open_trackers
from trainables.spec import TrajectorySpec
from trainables.storage import open_storage
study, spec = Study.model_validate({TINY_STUDY!r}), TrajectorySpec.from_json({spec().canonical_json()!r})
context = context_of({str(tmp_path)!r}, study.resources, "launch-1")
with open_trackers(study, {{spec.trajectory_id: spec}}, StudyFolder(open_storage({str(tmp_path)!r})), context, Console()) as tracking:
    tracking.started(spec.trajectory_id)
print("tensorboardX" in sys.modules, "torch" in sys.modules)
"""
        assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "True False"
