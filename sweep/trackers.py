"""Shows a study's rounds in the trackers that people already have: TensorBoard, MLflow, Weights & Biases.

They are views; the ledger is the record. So nothing that befalls a tracker may reach a trial. The tempting way is to hand Ray's
callbacks to Tune, which calls them between two events of its loop: there, one that raises ends Tune's run and every trial with it, and
one that waits holds all of them up (MLflow's client repeats a request to a server that is down for minutes). Here Tune tells only the
runner's own callback, and each tracker is told in turn by a thread of its own, through a bounded queue. Whatever goes wrong there is
one line of warning, and the end of that tracker for this launch.

What can be known before the first trial is asked before it: a package that is not installed and a server that does not answer are
wrong requests (``tracker_callbacks.py``), and nothing has been written then.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Full, Queue
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape

from sweep.arm import Arm
from trainables.rounds import Row
from trainables.spec import TrajectorySpec

Call = Callable[[Any], None]
"""Something that is told to one of Ray's `LoggerCallback`."""

MOST_WAITING = 10_000
"""Events that a tracker may be behind: some 20 MB. One that falls further behind is given up, so that the driver stays light."""

PATIENCE_SECONDS = 60.0
"""How long the end of a launch waits for a tracker to take what is left."""

INTERRUPTED_PATIENCE_SECONDS = 5.0
"""The same after Ctrl-C."""

SILENT_SECONDS = 2.0
"""How long that is waited before it is said."""

ARM_AND_SEED = frozenset({"seed", "dropout_rate", "mc_passes"})
"""Numbers of a row that are the same in all rounds of a trajectory: they name it, and no curve is drawn of them."""


@dataclass(frozen=True)
class TrackedTrial:
    """What a tracker is shown of a trial: the attributes of Tune's own `Trial` that Ray's callbacks read.

    Equal by `trial_id`: a trial that is started again after its worker vanished goes on in the same curve.
    """

    trial_id: str
    """The trajectory's id and the first launch of the study's folder: equal for all launches, other in another folder."""
    name: str = field(compare=False)
    """Arm and seed."""
    config: Mapping[str, str | int | float] = field(compare=False)
    """Arm, seed, ids: what trials are filtered and grouped by."""
    path: str = field(compare=False)
    """Arm and seed as folders."""
    root: Path = field(compare=False)
    """Folder on this machine's disk below which a tracker may write; it is never made."""

    def __str__(self) -> str:
        """As MLflow and Weights & Biases show it."""
        return self.name

    @property
    def local_path(self) -> str:
        """Folder of the trial's event files."""
        return str(self.root / self.path)

    @property
    def evaluated_params(self) -> Mapping[str, str | int | float]:
        """What TensorBoard's table of hyperparameters shows."""
        return self.config

    def init_local_path(self) -> None:
        """Make the trial's folder, but not `root`: where a storage went away, it would come to lie on another disk."""
        if not self.root.parent.is_dir():
            raise FileNotFoundError(f"{self.root.parent} is not there")
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


def tracked(spec: TrajectorySpec, first_launch: str, root: Path) -> TrackedTrial:
    """How a trajectory appears in trackers.

    Args:
        spec: its seed and arm give the names.
        first_launch: of the study's folder.
        root: folder for event files; the folder that it is in must exist.
    """
    arm = str(Arm.of_spec(spec))
    config: dict[str, str | int | float] = {"trajectory_id": spec.trajectory_id, "first_launch": first_launch}
    config |= {"seed": spec.seed, "acquisition": spec.acquisition, "dropout_rate": spec.dropout_rate}
    if spec.mc_passes is not None:
        config["mc_passes"] = spec.mc_passes
    return TrackedTrial(
        trial_id=f"{spec.trajectory_id}-{first_launch}",
        name=f"{arm} seed {spec.seed}",
        config=config,
        path=f"{arm.replace(' ', '-').replace('=', '')}/seed-{spec.seed}",
        root=root,
    )


def metrics_of(row: Row) -> dict[str, float]:
    """The numbers of a round that a curve is drawn of; ``training_iteration`` is what Ray's callbacks take as the step: the labels."""
    numbers = {
        name: value
        for name, value in asdict(row).items()
        if isinstance(value, int | float) and math.isfinite(value) and name not in ARM_AND_SEED
    }
    return numbers | {"training_iteration": row.num_labelled}


class Tracker:
    """One of Ray's callbacks, told what happens by a thread of its own, which ends at its first error."""

    def __init__(self, name: str, callback: Any, output: Console) -> None:
        """`callback` is connected already; `output` is told, once, if it fails."""
        self._name = name
        self._callback = callback
        self._output = output
        self._calls: Queue[Call | None] = Queue(MOST_WAITING)
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)

    def start(self) -> None:
        """Begin to pass calls on."""
        self._thread.start()

    def tell(self, call: Call | None) -> None:
        """Have the callback told, or with None end the thread after what waits; returns at once."""
        try:
            if not self._given_up.is_set():
                self._calls.put_nowait(call)
        except Full:
            self._give_up(f"it is {MOST_WAITING:,} events behind")

    def finish(self, patience_seconds: float) -> None:
        """Wait until everything was passed on, but not longer than that, nor after a Ctrl-C."""
        self.tell(None)
        with suppress(KeyboardInterrupt):
            if self._is_behind(SILENT_SECONDS):
                self._output.print(f"waiting for {self._name} to take what is left; Ctrl-C gives that up", style="dim")
                self._is_behind(patience_seconds - SILENT_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"it had {self._calls.qsize():,} events still to take at the end of the launch")

    def _is_behind(self, seconds: float) -> bool:
        """Whether there is still something to wait for after so many seconds."""
        if not self._given_up.is_set():
            self._thread.join(max(0.0, seconds))
        return self._thread.is_alive() and not self._given_up.is_set()

    def _work(self) -> None:
        while not self._given_up.is_set() and (call := self._calls.get()) is not None:
            try:
                call(self._callback)
            except Exception as error:  # whatever it is, it is the tracker's own trouble
                self._give_up(f"{type(error).__name__}: {error}")

    def _give_up(self, reason: str) -> None:
        with self._lock:
            if self._given_up.is_set():
                return
            self._given_up.set()
        self._output.print(
            f"[yellow]{self._name} is not told any more in this launch[/] ({escape(' '.join(reason.split()))}); the study goes on, and its "
            "ledger has every round",
            highlight=False,
            soft_wrap=True,
        )


class Tracking:
    """All trackers of a launch; each method returns at once."""

    def __init__(self, trackers: Sequence[Tracker], trial_of: Callable[[str], TrackedTrial]) -> None:
        """`trial_of` gives a trajectory, by its id, as trackers are shown it."""
        self._trackers = trackers
        self._trial_of = trial_of
        self._open: dict[str, TrackedTrial] = {}

    def __enter__(self) -> Self:
        """Start the trackers' threads."""
        for tracker in self._trackers:
            tracker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End what is open, and wait for the trackers a while."""
        for trajectory_id in list(self._open):
            self.ended(trajectory_id, failed=True)
        self._tell(lambda callback: callback.on_experiment_end([]))
        for tracker in self._trackers:
            tracker.finish(INTERRUPTED_PATIENCE_SECONDS if error else PATIENCE_SECONDS)

    def started(self, trajectory_id: str) -> None:
        """A trial began to compute a trajectory, perhaps again."""
        if self._trackers:
            trial = self._open.setdefault(trajectory_id, self._trial_of(trajectory_id))
            self._tell(lambda callback: callback.log_trial_start(trial))

    def round_finished(self, row: Row | None) -> None:
        """A round is in the ledger; None: a trial ended or begins again without one."""
        if row and row.trajectory_id in self._open:
            trial, result = self._open[row.trajectory_id], metrics_of(row)
            self._tell(lambda callback: callback.log_trial_result(row.round, trial, result))

    def ended(self, trajectory_id: str, *, failed: bool) -> None:
        """A trajectory is finished or has failed, or its trial is given back; one whose trial could not be set up had not begun."""
        if trajectory_id in self._open:
            trial = self._open.pop(trajectory_id)
            self._tell(lambda callback: callback.log_trial_end(trial, failed=failed))

    def _tell(self, call: Call) -> None:
        for tracker in self._trackers:
            tracker.tell(call)


NOWHERE = Tracking((), dict[str, TrackedTrial]().__getitem__)
"""Of a launch that no tracker is told of."""
