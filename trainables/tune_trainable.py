"""The adapter from a trajectory to `ray.tune.Trainable`: one Tune iteration is one finished round in the ledger.

Tune may reuse this object's process for another trajectory (`reset_config`), or start a fresh one after a lost worker; either way
it begins from the ledger, so nothing of a previous trial can leak and no Tune checkpoint is needed.

What may be retried and what may not is decided here. A worker that vanishes raises nothing: Tune sees it and starts the trial
again. Everything that *can* raise is a fault of the computation or of the storage and would raise again, so it ends the trial: it is
written to the ledger and handed to the driver in the trial's last result.
"""

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray.tune import Trainable

from trainables.corpus import Corpus
from trainables.ledger import Attempt, Ledger, Round
from trainables.spec import Execution, TrajectorySpec
from trainables.storage import open_storage
from trainables.trajectory import rounds


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a launch share."""

    trajectories: str
    """Where the trajectories' folders are: a path or a URI."""
    launch: str
    """Name of the launch, for the attempt records."""
    execution: Execution


class TrajectoryTrainable(Trainable):
    """Runs one trajectory, a round a step."""

    def setup(self, config: dict[str, Any], *, corpus: Corpus, context: TrialContext) -> None:  # type: ignore[override]
        """Take what the process's trials share, and the first trajectory.

        Args:
            config: ``spec``, the canonical JSON of the trajectory.
            corpus: from Ray's object store, which holds one copy per node.
            context: where the ledgers are, and how to execute.
        """
        self._corpus = corpus
        self._context = context
        make_deterministic(context.execution)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trajectory; nothing is read or computed before `step`, where failures are recorded."""
        self._spec = TrajectorySpec.from_json(new_config["spec"])
        self._ledger = Ledger(open_storage(self._context.trajectories).folder(self._spec.trajectory_id), self._spec)
        self._attempt: Attempt | None = None
        self._rounds: Iterator[Round] = iter(())
        return True

    def step(self) -> dict[str, Any]:
        """Finish one round; the last one seals the ledger.

        Returns:
            ``done``, ``rounds`` (finished so far), and ``error`` (None, or why the trial ended).
        """
        try:
            return self._next_round()
        except Exception as error:  # every failure is recorded and reported; none may look like a lost worker
            return {"done": True, "rounds": self._ledger.num_rounds, "error": self._record(error)}

    def _next_round(self) -> dict[str, Any]:
        if self._attempt is None:
            finished = self._ledger.read()
            self._attempt = self._ledger.begin_attempt(self._context.launch, circumstances(self._context.execution))
            self._rounds = rounds(self._spec, self._corpus, finished, self._context.execution)
        finished_round = next(self._rounds, None)
        if finished_round is not None:
            self._ledger.append(finished_round, self._attempt)
        done = self._ledger.num_rounds == self._spec.num_rounds
        if done:
            self._ledger.seal()
        return {"done": done, "rounds": self._ledger.num_rounds, "error": None}

    def _record(self, error: Exception) -> str:
        """Write the failure to the ledger, if that can still be done, and return it as a line."""
        line = f"{type(error).__name__}: {error}"
        try:
            self._ledger.record_failure(error, {"launch": self._context.launch, **circumstances(self._context.execution)})
        except OSError as unwritable:
            line += f" (and this could not be written to the ledger: {unwritable})"
        return line


def make_deterministic(execution: Execution) -> None:
    """Use exactly the threads that were given, and only operations that repeat bit for bit."""
    torch.set_num_threads(execution.threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def circumstances(execution: Execution) -> Mapping[str, object]:
    """What can change the last bits of a result, and where it was computed."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "processor": _processor(),
        "device": torch.cuda.get_device_name() if execution.device == "cuda" else "cpu",
        "threads": execution.threads,
        "scoring_batch": execution.scoring_batch,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's model name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
