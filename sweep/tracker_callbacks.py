"""Ray's own callbacks for TensorBoard, MLflow and Weights & Biases: connected before the first trial, and what is changed in them.

They are told of `TrackedTrial` instead of Tune's trials, by the threads of ``trackers.py``. How they name, group and connect is kept.
What is changed was measured with Ray 2.60 (docs/trackers.md):

    TensorBoard         its package loaded torch into the driver: it cannot now; with results at a URI, event files are written to this
                        machine's disk and copied at the end of a trial
    MLflow              each number was a request of its own, after one that asked for its trial: a round is one request now; and a later
                        launch began new curves: now it goes on in those of the earlier one
    Weights & Biases    two processes a trial, 1.6 core seconds: now this process tells of all trials, which W&B can do since 0.19.10
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweep.folder import EVENT_FILES, LAUNCHES, StudyFolder
from sweep.study import Study
from sweep.trackers import NOWHERE, Tracker, Tracking, tracked
from trainables.errors import RequestError
from trainables.node import TrialContext
from trainables.spec import TrajectorySpec

if TYPE_CHECKING:
    from ray.tune.logger import LoggerCallback

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}
"""Against what the packages tell their makers, and what they print over the progress; a name that the user has set stays as it is."""

IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""While connecting. Afterwards MLflow's client may repeat a request for minutes, as is its default: no trial waits for it."""

ANSWER_SECONDS = 10
"""How long Weights & Biases may take to answer the first question."""


FEW_RETRIES: dict[str, Any] = {
    f"x_{channel}_retry_{name}": value
    for channel in ("file_stream", "file_transfer", "graphql")
    for name, value in (("max", 5), ("wait_min_seconds", 1), ("wait_max_seconds", 10))
}
"""Of W&B, half a minute altogether: by default it repeats for hours, and the process does not end before it has given up (measured)."""


@dataclass(frozen=True)
class _Kind:
    """One of the trackers, as a person installs and mends it."""

    module: str
    install: str
    remedy: str
    off: str


KINDS = {
    "tensorboard": _Kind("tensorboardX", "pip install tensorboardX", "install it anew", "false"),
    "mlflow": _Kind("mlflow", "pip install 'al-sweep[mlflow]'", "start the server, or mend the URI", "null"),
    "wandb": _Kind("wandb", "pip install 'al-sweep[wandb]'", "log in (wandb login), or set WANDB_MODE=offline", "null"),
}


def open_trackers(
    study: Study, specs: Mapping[str, TrajectorySpec], folder: StudyFolder, context: TrialContext, output: Console
) -> Tracking:
    """Connect what the study asks for.

    Args:
        study: with its name and ``trackers``.
        specs: the trajectories that the launch runs, by id; without any, nothing is connected.
        folder: of the study, which is there.
        context: of the launch.
        output: told of trackers that fail later.

    Raises:
        RequestError: a tracker is not installed, or does not answer.
    """
    asked = study.trackers
    wanted = {"tensorboard": asked.tensorboard, "mlflow": asked.mlflow, "wandb": asked.wandb}
    wanted = {name: value for name, value in wanted.items() if value}
    if not wanted or not specs:
        return NOWHERE
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    scratch = TemporaryDirectory(prefix="al-sweep-", ignore_cleanup_errors=True) if "://" in context.study else None
    here = Path(scratch.name if scratch else context.study)
    makers: dict[str, Callable[[], LoggerCallback]] = {
        "tensorboard": lambda: _tensorboard(folder, scratch),
        "mlflow": lambda: _mlflow(str(asked.mlflow), study.study),
        "wandb": lambda: _wandb(str(asked.wandb), study.study, None if scratch else here),
    }
    trackers = [Tracker(name, _connected(name, value, makers[name]), output) for name, value in wanted.items()]
    launches = folder.storage.names(LAUNCHES)
    first_launch = launches[0].removesuffix(".json") if launches else context.launch
    return Tracking(trackers, lambda trajectory_id: tracked(specs[trajectory_id], first_launch, here / EVENT_FILES))


def _connected(name: str, value: object, make: "Callable[[], LoggerCallback]") -> "LoggerCallback":
    place, kind = f"trackers.{name} = {value!r}", KINDS[name]
    if find_spec(kind.module) is None:
        raise RequestError(f"{place}: the package {kind.module} is not installed; {kind.install}, or --set trackers.{name}={kind.off}")
    try:
        return make()
    except Exception as error:  # of many packages' own kinds
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RequestError(f"{place}: it cannot be used ({reason}); {kind.remedy}, or --set trackers.{name}={kind.off}") from error


@contextmanager
def _torch_hidden() -> Iterator[None]:
    """Torch cannot be imported in the block: tensorboardX loads it, if it can, for a type annotation; 190 MB and 0.7 s of the driver."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]


def _tensorboard(folder: StudyFolder, scratch: "TemporaryDirectory[str] | None") -> "LoggerCallback":
    """Event files in the study's folder; where that is at a URI they are in `scratch` until their trial ends."""
    with _torch_hidden():
        import tensorboardX  # noqa: F401 - Ray's callback imports it
    from ray.tune.logger import TBXLoggerCallback

    class Copied(TBXLoggerCallback):
        """Written here, and put where the results are when a trial ends."""

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:
            super().log_trial_end(trial, failed)
            files = Path(trial.local_path)
            for path in sorted(files.iterdir()):
                folder.storage.folder(f"{EVENT_FILES}/{trial.path}").write(path.name, path.read_bytes())
            shutil.rmtree(files)

        def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
            if scratch:
                scratch.cleanup()

    return Copied() if scratch else TBXLoggerCallback()  # type: ignore[no-untyped-call]


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables for the time of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})


def _mlflow(tracking_uri: str, study: str) -> "LoggerCallback":
    """A curve for each trajectory, in the experiment that has the study's name."""
    import mlflow
    from mlflow.entities import Metric
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    client = mlflow.MlflowClient(tracking_uri)

    class InOneCurve(MLflowLoggerCallback):
        """Goes on in the curve of an earlier launch, and sends a round at once."""

        def log_trial_start(self, trial: Any) -> None:
            if trial not in self._trial_runs:
                same = " and ".join(f"tags.{name} = '{trial.config[name]}'" for name in ("trajectory_id", "first_launch"))
                for earlier in client.search_runs([str(self.mlflow_util.experiment_id)], same, max_results=1):
                    self._trial_runs[trial] = earlier.info.run_id
            if trial in self._trial_runs:
                client.update_run(self._trial_runs[trial], status="RUNNING")
            self.tags = {name: str(value) for name, value in trial.config.items()}
            super().log_trial_start(trial)

        def log_trial_result(self, iteration: int, trial: Any, result: dict[str, float]) -> None:
            when, step = round(time.time() * 1000), int(result["training_iteration"])
            metrics = [Metric(name, value, when, step) for name, value in result.items() if name != "training_iteration"]
            client.log_batch(self._trial_runs[trial], metrics)

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:
            super().log_trial_end(trial, failed)
            del self._trial_runs[trial]  # if it begins again it is found by its tags

    callback = InOneCurve(tracking_uri, experiment_name=study)
    with _environment(IMPATIENT):
        callback.setup()  # type: ignore[no-untyped-call]
    return callback


def _wandb(project: str, study: str, files: Path | None) -> "LoggerCallback":
    """A curve for each trajectory in a project, grouped by study; `files` is where W&B keeps its own, unless WANDB_DIR says."""
    import wandb
    from ray.air.integrations.wandb import WandbLoggerCallback

    class InThisProcess(WandbLoggerCallback):
        """Tells of all trials itself, where Ray's starts two processes for each."""

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self._curves: dict[Any, Any] = {}

        def _start_logging_actor(self, trial: Any, exclude_results: list[str], **settings: Any) -> None:
            if files and not files.is_dir():
                raise FileNotFoundError(f"{files} is not there")  # where a storage went away, it would be made on another disk
            if trial not in self._curves:
                self._curves[trial] = wandb.init(**settings)

        def log_trial_result(self, iteration: int, trial: Any, result: dict[str, float]) -> None:
            numbers = {name: value for name, value in result.items() if name != "training_iteration"}
            self._curves[trial].log(numbers, step=int(result["training_iteration"]))

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:
            self._curves.pop(trial).finish(exit_code=int(failed))

        def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
            """Nothing is left to wait for: each curve was finished with its trial."""

    online = os.environ.get("WANDB_MODE", "online") == "online"
    if online:
        wandb.Api(timeout=ANSWER_SECONDS).viewer  # noqa: B018 - raises where W&B does not answer, or nobody is logged in
    settings = wandb.Settings(console="off", disable_code=True, disable_git=True, x_disable_stats=True, **FEW_RETRIES)
    where = {} if "WANDB_DIR" in os.environ or files is None else {"dir": str(files)}
    callback = InThisProcess(
        project=project, group=study, reinit="create_new", resume="allow" if online else None, settings=settings, **where
    )
    callback.setup()  # type: ignore[no-untyped-call]
    return callback
