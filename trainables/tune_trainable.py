"""The adapter from a trajectory to `ray.tune.Trainable`: one Tune iteration is one finished round in the ledger.

Tune may reuse this object's process for another trajectory (`reset_config`), or start a fresh one after a lost worker; either way
it begins from the ledger, so nothing of a previous trial can leak and no Tune checkpoint is needed.

What may be retried and what may not is decided here. A worker that vanishes raises nothing: Tune sees it and starts the trial
again. Everything that *can* raise is a fault of the computation or of the storage and would raise again, so it ends the trial: it is
written to the ledger and handed to the driver in the trial's last result.

The driver imports this file to name the trainable, and computes nothing: torch is imported in the worker, on its first trajectory.
"""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ray.tune import Trainable

from trainables.corpus import Corpus
from trainables.errors import SupersededError
from trainables.ledger import Ledger
from trainables.rounds import Round
from trainables.spec import Execution, TrajectorySpec
from trainables.storage import open_storage


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
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trajectory; nothing is read or computed before `step`, where failures are recorded."""
        self._spec = TrajectorySpec.from_json(new_config["spec"])
        self._ledger = Ledger(open_storage(self._context.trajectories).folder(self._spec.trajectory_id), self._spec)
        self._attempt: int | None = None
        self._rounds: Iterator[Round] = iter(())
        return True

    def step(self) -> dict[str, Any]:
        """Finish one round; the last one seals the ledger.

        Returns:
            ``done``, ``rounds`` (finished so far), and ``error`` (None, or why the trial ended).
        """
        try:
            return self._next_round()
        except SupersededError:  # a worker that was thought lost was quicker: go on from what it committed
            self._attempt = None
            return {"done": False, "rounds": self._ledger.num_rounds, "error": None}
        except Exception as error:  # every failure is recorded and reported; none may look like a lost worker
            return {"done": True, "rounds": self._ledger.num_rounds, "error": self._record(error)}

    def _next_round(self) -> dict[str, Any]:
        if self._attempt is None:
            from trainables.execution import circumstances, make_deterministic
            from trainables.trajectory import rounds

            make_deterministic(self._context.execution)
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
            self._ledger.record_failure(error, {"launch": self._context.launch, "host": platform.node()})
        except OSError as unwritable:
            line += f" (and this could not be written to the ledger: {unwritable})"
        return line
