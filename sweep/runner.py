"""Run trajectories as Ray Tune trials, and survive what can be survived.

Tune gets the explicit list of what remains, in the order of ``schedule.py``, and processes that are reused from trial to trial (a
fresh one costs seconds of imports). Its own checkpoints, result files and restore are not used: the ledger is the record, and a
repeated launch simply has less to do.

A vanished worker or node is a failure that Tune sees, and a trial goes on elsewhere from its ledger. Tune can only limit failures
over a trial's whole life, or not at all; here the count starts anew with every finished round, so a long trial outlives any number
of taken spot machines and a trial that kills its worker each time ends soon. A worker that is lost while it starts is not retried by
Tune: what is left over is run in further passes, for as long as a pass finishes rounds. Failures of the computation never reach
Tune as failures: they are results with an ``error``, and are not retried.

Trouble of the storage is told apart (``outage.py``).
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.cluster import places
from sweep.outage import Outage
from sweep.progress import Progress
from sweep.schedule import Queue
from sweep.sections import Resources
from sweep.trackers import NOWHERE, Tracking
from trainables.corpus import Corpus
from trainables.errors import ComputationError
from trainables.ledger import Ledger
from trainables.node import TRAJECTORIES, TrialContext, code_version
from trainables.spec import Execution, TrajectorySpec
from trainables.storage import open_storage

if TYPE_CHECKING:
    from ray.tune import Callback, Stopper
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import Searcher

RETRIES = 2
"""Times that a trial is started again without having finished a round in between."""

LOST = (
    f"its worker vanished {RETRIES + 1} times without finishing a round. The usual reason is too little memory: give each trial more "
    "cpu or gpu, so that fewer share a machine"
)


def execution_of(resources: Resources) -> Execution:
    """How trials compute."""
    return Execution(
        threads=resources.cpu,
        device="cuda" if resources.gpu > 0 else "cpu",
        compiled=resources.compiled,
        scoring_batch=resources.scoring_batch,
        store_predictions=resources.store_predictions,
    )


def context_of(study_folder: str, resources: Resources, launch: str) -> TrialContext:
    """What the trials of a launch share; `study_folder` is a path or a URI."""
    location = study_folder if "://" in study_folder else os.path.abspath(study_folder)
    return TrialContext(location, launch, execution_of(resources), code_version(), resources.storage_patience)


def run(
    specs: Sequence[TrajectorySpec],
    corpus: Corpus,
    resources: Resources,
    context: TrialContext,
    progress: Progress,
    tracking: Tracking = NOWHERE,
) -> bool:
    """Run trajectories until each is sealed or has failed; outcomes are told to `progress`.

    Args:
        specs: in the plan's order.
        corpus: goes to Ray's object store, one copy per node.
        resources: of one trial.
        context: what the trials share; its launch holds the study's lease.
        progress: told of starts, rounds, ends and losses.
        tracking: told of the same, and of each round's numbers, if the study is shown in a tracker.

    Returns:
        False if the storage is gone, and trajectories were left for that.
    """
    from ray import tune

    from trainables.tune_trainable import TrajectoryTrainable

    with_data = tune.with_parameters(TrajectoryTrainable, corpus=corpus, context=context)
    trainable = tune.with_resources(with_data, {"cpu": resources.cpu, "gpu": resources.gpu})
    left, outage = list(specs), Outage()
    reporter = _reporter(progress, outage, tracking)
    while left:
        rounds_before = progress.rounds
        progress.given_up.clear()
        queue = Queue(left, progress.cost_left, lambda: places(resources))
        _run_pass(trainable, queue, context.launch, reporter, outage)
        if outage.is_total:
            return False
        left = [spec for spec in left if spec.trajectory_id in progress.given_up]
        if progress.rounds == rounds_before:
            break
    trajectories = open_storage(context.study, must_exist=True).folder(TRAJECTORIES)
    for spec in left:
        error = ComputationError(progress.given_up[spec.trajectory_id])
        Ledger(trajectories.folder(spec.trajectory_id), spec).record_failure(error, {"launch": context.launch})
        progress.ended(spec.trajectory_id, str(error))
    return True


def _run_pass(trainable: Any, queue: Queue, launch: str, reporter: "Callback", outage: Outage) -> None:
    """One Tune run over the trajectories of a queue."""
    from ray import tune

    scratch = Path(tempfile.mkdtemp(prefix="al-sweep-"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Tune warns of features that are not used here
            tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=_source(queue),
                    scheduler=_in_order(),
                    num_samples=len(queue),
                    reuse_actors=True,
                    trial_name_creator=_trajectory_id,
                    trial_dirname_creator=_trajectory_id,
                ),
                run_config=tune.RunConfig(
                    name=launch,
                    storage_path=str(scratch),
                    failure_config=tune.FailureConfig(max_failures=RETRIES),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    callbacks=[reporter],
                    stop=_stopper(outage),
                    verbose=0,
                ),
            ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _source(queue: Queue) -> "Searcher":
    """Tune's source of trials: each trajectory is made into a trial when its turn comes.

    A grid search over the same list copies the whole list for each of its items: minutes before the first of 20,000 trials starts.
    """
    from ray.tune.search import Searcher

    class Source(Searcher):
        """Suggests what the queue holds."""

        def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
            return True

        def suggest(self, trial_id: str) -> dict[str, Any] | None:
            spec = queue.pop()
            return {"trajectory_id": spec.trajectory_id, "spec": spec.canonical_json()}

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            pass

        def save(self, checkpoint_path: str) -> None:
            pass

        def restore(self, checkpoint_path: str) -> None:
            pass

        def __reduce__(self) -> tuple[type[Searcher], tuple[()]]:
            """Tune pickles its set-up for a restore that is never made: the queue need not go along."""
            return Searcher, ()

    return Source()


def _in_order() -> "TrialScheduler":
    """Tune's choice of the next trial: of those that wait, the first.

    Tune's own first-in-first-out goes through all trials of the study at each event, and names a trial whose process is being reset a
    second time; a process that is free in that moment then takes any of the waiting ones, out of order.
    """
    from ray.tune.experiment import Trial
    from ray.tune.schedulers import FIFOScheduler

    class InOrder(FIFOScheduler):
        """Keeps the trials that are not finished, in their order; a retried one keeps its place."""

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self._open: dict[str, Trial] = {}

        def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
            self._open.setdefault(trial.trial_id, trial)

        def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
            for trial_id in [i for i, trial in self._open.items() if trial.status in (Trial.TERMINATED, Trial.ERROR)]:
                del self._open[trial_id]
            waiting = (trial for trial in self._open.values() if trial.status == Trial.PENDING)
            return next((trial for trial in waiting if trial.temporary_state.ray_actor is None), None)

    return InOrder()


def _trajectory_id(trial: Any) -> str:
    return str(trial.config["trajectory_id"])


def _reason(error: Exception | None) -> str:
    """Why a trial was given up: its worker vanished, or it could not even be set up there."""
    from ray.exceptions import RayTaskError

    if isinstance(error, RayTaskError):
        return f"the trial could not be set up: {type(error.cause).__name__}: {error.cause}"
    return LOST


def _stopper(outage: Outage) -> "Stopper":
    """Ends Tune's run when the storage is gone."""
    from ray.tune import Stopper

    class StopWhenGone(Stopper):
        """Stops everything or nothing."""

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return outage.is_total

    return StopWhenGone()


def _reporter(progress: Progress, outage: Outage, tracking: Tracking) -> "Callback":
    """A Tune callback that tells `progress`, `outage` and `tracking` what happens."""
    from ray.tune import Callback

    class Reporter(Callback):
        """Passes Tune's events on."""

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            progress.started(_trajectory_id(trial))
            tracking.started(_trajectory_id(trial))

        def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
            trial.run_metadata.num_failures = 0
            row = result.pop("row")  # Tune keeps each trial's last result: this it need not
            progress.round_finished(_trajectory_id(trial), result["rounds"], row.seconds if row else 0.0)
            tracking.round_finished(row)
            if result["done"]:
                tracking.ended(_trajectory_id(trial), failed=bool(result["error"]))
                progress.ended(_trajectory_id(trial), result["error"])
            if result["storage_failed"]:
                outage.failed(progress.running)
            elif not result["error"]:
                outage.worked()

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            """Let go of the statistics that Tune keeps of each trial: 20 of its 40 kB, for which a study of 20,000 has no use."""
            trial.run_metadata.metric_analysis.clear()
            trial.run_metadata.metric_n_steps.clear()

        def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
            """Tune pickles its set-up for a restore that is never made: a live display cannot go along."""
            return Callback, ()

        def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            progress.lost(_trajectory_id(trial))

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            progress.gave_up(_trajectory_id(trial), _reason(trial.get_error()))
            tracking.ended(_trajectory_id(trial), failed=True)

    return Reporter()
