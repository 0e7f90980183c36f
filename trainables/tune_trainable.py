"""The adapter from a trajectory to `ray.tune.Trainable`: one Tune iteration is one finished round in the ledger.

Tune may reuse this object's process for another trajectory (`reset_config`), or start a fresh one after a lost worker; either way
it begins from the ledger, so nothing of a previous trial can leak and no Tune checkpoint is needed.

What may be retried and what may not is decided here. A worker that vanishes raises nothing: Tune sees it and starts the trial
again. Whatever raises in a trial would raise again, so it ends the trial: it is handed to the driver in the trial's last result, and a
fault of the computation is written to the ledger too. Trouble of the storage has been waited out by then, and is marked as what it is:
the driver stops a launch whose storage is gone. Memory that ran out is the one thing that is tried again here, once, with smaller
scoring batches.

The driver imports this file to name the trainable, and computes nothing: torch is imported in the worker, on its first trajectory.
"""

import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ray.tune import Trainable

from trainables.corpus import Corpus
from trainables.errors import NodeError, StorageError, SupersededError
from trainables.ledger import Ledger
from trainables.node import TRAJECTORIES, TrialContext, check
from trainables.patience import Patient
from trainables.rounds import Round, Row
from trainables.spec import TrajectorySpec
from trainables.storage import open_storage

SMALLER = 4
"""What the scoring batch is divided by when memory ran out."""


def _hold(context: TrialContext) -> None:
    """Wait before a trial that could not even begin is given back: a machine without the storage would else soon have had them all."""
    time.sleep(context.patience_seconds)


class TrajectoryTrainable(Trainable):
    """Runs one trajectory, a round a step."""

    def setup(self, config: dict[str, Any], *, corpus: Corpus, context: TrialContext) -> None:  # type: ignore[override]
        """Take what the process's trials share, and the first trajectory.

        Args:
            config: ``spec``, the canonical JSON of the trajectory.
            corpus: from Ray's object store, which holds one copy per node.
            context: where the ledgers are, and how to execute.

        Raises:
            NodeError: this machine cannot run trials of the launch.
        """
        try:
            check(context)
        except NodeError:
            _hold(context)
            raise
        self._study = open_storage(context.study, must_exist=True)
        self._corpus = corpus
        self._context = context
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trajectory; nothing is read or computed before `step`, where failures are recorded."""
        self._spec = TrajectorySpec.from_json(new_config["spec"])
        study = Patient(self._study, self._context.patience_seconds)  # each trial has its own patience
        self._ledger = Ledger(study.folder(f"{TRAJECTORIES}/{self._spec.trajectory_id}"), self._spec)
        self._execution = self._context.execution
        self._attempt: int | None = None
        self._rounds: Iterator[Round] = iter(())
        return True

    def step(self) -> dict[str, Any]:
        """Finish one round; the last one seals the ledger.

        Returns:
            ``done``, ``rounds`` (finished so far), ``row`` (of the round that was finished now; None if none was), ``error`` (None, or
            why the trial ended), and ``storage_failed``.
        """
        try:
            return self._next_round()
        except SupersededError:  # a worker that was thought lost was quicker: go on from what it committed
            self._attempt = None
            return self._result()
        except StorageError as error:
            if self._attempt is None:
                _hold(self._context)
            return self._result(f"{platform.node()}: {error}", storage_failed=True)
        except Exception as error:  # every failure is recorded and reported; none may look like a lost worker
            if self._may_shrink(error):
                self._execution = replace(self._execution, scoring_batch=self._execution.scoring_batch // SMALLER)
                self._attempt, self._rounds = None, iter(())  # lets go of what the round held
                return self._result()
            return self._result(self._record(error))

    def _result(
        self, error: str | None = None, *, row: Row | None = None, done: bool = False, storage_failed: bool = False
    ) -> dict[str, Any]:
        done = done or error is not None
        return {"done": done, "rounds": self._ledger.num_rounds, "row": row, "error": error, "storage_failed": storage_failed}

    def _may_shrink(self, error: Exception) -> bool:
        """Whether memory ran out with the batch that was asked for; the smaller one is tried once."""
        from trainables.execution import is_out_of_memory

        whole = self._execution.scoring_batch == self._context.execution.scoring_batch
        return whole and self._execution.scoring_batch >= SMALLER and is_out_of_memory(error)

    def _next_round(self) -> dict[str, Any]:
        if self._attempt is None:
            from trainables.execution import circumstances, make_deterministic, release_memory
            from trainables.trajectory import rounds

            if self._execution != self._context.execution:
                release_memory()
            make_deterministic(self._execution)
            finished = self._ledger.read()
            self._attempt = self._ledger.begin_attempt(self._context.launch, circumstances(self._execution))
            self._rounds = rounds(self._spec, self._corpus, finished, self._execution)
        finished_round = next(self._rounds, None)
        if finished_round is not None:
            self._ledger.append(finished_round, self._attempt)
        done = self._ledger.num_rounds == self._spec.num_rounds
        if done:
            self._ledger.seal()
        return self._result(row=finished_round.row if finished_round else None, done=done)

    def _record(self, error: Exception) -> str:
        """Write the failure to the ledger, if that can still be done, and return it as a line."""
        from trainables.execution import is_out_of_memory, out_of_memory

        if is_out_of_memory(error):
            error = out_of_memory(error, self._execution)
        line = f"{type(error).__name__}: {error}"
        try:
            self._ledger.record_failure(error, {"launch": self._context.launch, "host": platform.node()})
        except OSError as unwritable:
            line += f" (and this could not be written to the ledger: {unwritable})"
        return line
