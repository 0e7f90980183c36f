"""Run trajectories as Ray Tune trials, and survive what can be survived.

Tune gets the explicit list of what remains, in the plan's order, and processes that are reused from trial to trial (a fresh one
costs seconds of imports). Its own checkpoints, result files and restore are not used: the ledger is the record, and a repeated
launch simply has less to do.

A vanished worker or node is a failure that Tune sees, and a trial goes on elsewhere from its ledger. Tune can only limit failures
over a trial's whole life, or not at all; here the count starts anew with every finished round, so a long trial outlives any number
of taken spot machines and a trial that kills its worker each time ends soon. A worker that is lost while it starts is not retried by
Tune: what is left over is run in further passes, for as long as a pass finishes rounds. Failures of the computation never reach
Tune as failures: they are results with an ``error``, and are not retried.
"""

import logging
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.progress import Progress
from sweep.study import Resources
from trainables.corpus import Corpus
from trainables.errors import ComputationError, RequestError
from trainables.ledger import Ledger
from trainables.spec import Execution, TrajectorySpec
from trainables.storage import Storage

if TYPE_CHECKING:
    from ray.tune import Callback

RETRIES = 2
"""Times that a trial is started again without having finished a round in between."""

LOST = (
    f"its worker vanished {RETRIES + 1} times without finishing a round. The usual reason is too little memory: give each trial more "
    "cpu or gpu, so that fewer share a machine"
)

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean in a trial what they mean in the launch
    "RAY_AIR_NEW_OUTPUT": "0",  # progress is shown by `Progress`
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C reaches the launch, which then stops Ray
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),  # Tune's state is never restored
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def execution_of(resources: Resources) -> Execution:
    """How a trial computes under the given resources."""
    return Execution(
        threads=resources.cpu,
        device="cuda" if resources.gpu > 0 else "cpu",
        scoring_batch=resources.scoring_batch,
        store_predictions=resources.store_predictions,
    )


@contextmanager
def ray_cluster(address: str | None) -> Iterator[dict[str, float]]:
    """A connection to a cluster, or a local Ray for the time of the block; gives the cluster's resources.

    Raises:
        RequestError: no cluster at the address.
    """
    os.environ.update(QUIET)
    import ray
    from ray import tune  # noqa: F401 - two seconds of imports, while Ray's processes are not yet asking for the cores

    try:
        if address:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            # "local": a cluster of `ray start` that happens to run here is not taken unless it was asked for
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise RequestError(f"--address {address}: no Ray cluster answers there ({error}); start one, or leave --address out") from error
    try:
        yield ray.cluster_resources()  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise ConnectionError at once where nothing listens; Ray would try for more than a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto", say: Ray finds out
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


def check_resources(resources: Resources, available: dict[str, float]) -> None:
    """Refuse trials that no machine here could ever start.

    Raises:
        RequestError: a trial asks for more than the whole local machine has.
    """
    for kind, wanted, unit in (("CPU", resources.cpu, "cores"), ("GPU", resources.gpu, "GPUs")):
        if wanted > available.get(kind, 0):
            raise RequestError(
                f"resources.{kind.lower()} = {wanted}: this machine has {available.get(kind, 0):g} {unit}; ask for at most that"
            )


def run(
    specs: Sequence[TrajectorySpec], corpus: Corpus, resources: Resources, trajectories: Storage, launch: str, progress: Progress
) -> None:
    """Run trajectories until each is sealed or has failed; outcomes are told to `progress`.

    Args:
        specs: in the order in which they are to be started.
        corpus: goes to Ray's object store, one copy per node.
        resources: of one trial.
        trajectories: where the ledgers are.
        launch: this launch's name.
        progress: told of starts, rounds, ends and losses.
    """
    from ray import tune

    from trainables.tune_trainable import TrajectoryTrainable, TrialContext

    location = trajectories.location if "://" in trajectories.location else os.path.abspath(trajectories.location)
    context = TrialContext(trajectories=location, launch=launch, execution=execution_of(resources))
    with_data = tune.with_parameters(TrajectoryTrainable, corpus=corpus, context=context)
    trainable = tune.with_resources(with_data, {"cpu": resources.cpu, "gpu": resources.gpu})
    left = list(specs)
    while left:
        rounds_before = progress.rounds
        progress.given_up.clear()
        _run_pass(trainable, left, launch, progress)
        left = [spec for spec in left if spec.trajectory_id in progress.given_up]
        if progress.rounds == rounds_before:
            break
    for spec in left:
        error = ComputationError(progress.given_up[spec.trajectory_id])
        Ledger(trajectories.folder(spec.trajectory_id), spec).record_failure(error, {"launch": launch})
        progress.ended(spec.trajectory_id, str(error))


def _run_pass(trainable: Any, specs: Sequence[TrajectorySpec], launch: str, progress: Progress) -> None:
    """One Tune run over the given trajectories."""
    from ray import tune

    scratch = Path(tempfile.mkdtemp(prefix="al-sweep-"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Tune warns of features that are not used here
            tune.Tuner(
                trainable,
                param_space={"spec": tune.grid_search([spec.canonical_json() for spec in specs])},
                tune_config=tune.TuneConfig(
                    reuse_actors=True,
                    trial_name_creator=_trajectory_id,
                    trial_dirname_creator=_trajectory_id,
                ),
                run_config=tune.RunConfig(
                    name=launch,
                    storage_path=str(scratch),
                    failure_config=tune.FailureConfig(max_failures=RETRIES),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    callbacks=[_reporter(progress)],
                    verbose=0,
                ),
            ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _trajectory_id(trial: Any) -> str:
    return TrajectorySpec.from_json(trial.config["spec"]).trajectory_id


def _reason(error: Exception | None) -> str:
    """Why a trial was given up: its worker vanished, or it could not even be set up there."""
    from ray.exceptions import RayTaskError

    if isinstance(error, RayTaskError):
        return f"the trial could not be set up: {type(error.cause).__name__}: {error.cause}"
    return LOST


def _reporter(progress: Progress) -> "Callback":
    """A Tune callback that tells `progress` what happens."""
    from ray.tune import Callback

    class Reporter(Callback):
        """Passes Tune's events on."""

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            progress.started(_trajectory_id(trial))

        def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
            trial.run_metadata.num_failures = 0
            progress.round_finished(_trajectory_id(trial), result["rounds"])
            if result["done"]:
                progress.ended(_trajectory_id(trial), result["error"])

        def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
            """Tune pickles its set-up for a restore that is never made: a live display cannot go along."""
            return Callback, ()

        def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            progress.lost(_trajectory_id(trial))

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            progress.gave_up(_trajectory_id(trial), _reason(trial.get_error()))

    return Reporter()
