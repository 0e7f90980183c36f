"""What a person sees while a study runs: trajectories, rounds, failures and when it will be done.

On a terminal one line is kept up to date; elsewhere (a log file) a line is written now and then.
"""

import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from trainables.spec import TrajectorySpec

LOG_SECONDS = 15.0


class Progress:
    """Counts what happens and shows it.

    The time left is estimated from the planned cost (in tokens) of the rounds that this launch has finished and of those that it
    has still to do. Sums are kept, not taken: the line of a study of 100,000 trajectories is drawn twice a second.
    """

    def __init__(
        self, console: Console, remaining: Mapping[str, TrajectorySpec], costs: Mapping[str, float], done: Mapping[str, int]
    ) -> None:
        """Nothing is shown before the block is entered.

        Args:
            console: where to.
            remaining: the trajectories that this launch runs, by id.
            costs: planned tokens of each.
            done: rounds of each that are finished already.
        """
        self._console = console
        self._total = {trajectory_id: spec.num_rounds for trajectory_id, spec in remaining.items()}
        self._cost_per_round = {trajectory_id: costs[trajectory_id] / spec.num_rounds for trajectory_id, spec in remaining.items()}
        self._done = {trajectory_id: done.get(trajectory_id, 0) for trajectory_id in remaining}
        self._rounds, self._all_rounds = sum(self._done.values()), sum(self._total.values())
        self._cost_spent, self._cost_open = 0.0, sum(map(self.cost_left, remaining))
        self._running: set[str] = set()
        self._finished = 0
        self.failed: dict[str, str] = {}
        """Errors of the trajectories that failed, by id."""
        self.given_up: dict[str, str] = {}
        """Trajectories whose workers vanished too often, with the last reason, by id."""
        self._told: set[str] = set()
        self._first_start: float | None = None
        self._began = self._logged = time.monotonic()
        self._live = Live(console=console, get_renderable=self._line, refresh_per_second=2, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        """Start showing."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop showing, and leave the last line standing."""
        if self._live:
            self._live.stop()
        self._console.print(self._line())

    def started(self, trajectory_id: str) -> None:
        """A trial began to compute a trajectory, perhaps again."""
        self._first_start = self._first_start or time.monotonic()
        self._running.add(trajectory_id)

    def round_finished(self, trajectory_id: str, rounds: int) -> None:
        """A trajectory has so many rounds now."""
        more = max(0, rounds - self._done[trajectory_id])
        self._done[trajectory_id] += more
        self._rounds += more
        self._cost_spent += more * self._cost_per_round[trajectory_id]
        self._cost_open -= more * self._cost_per_round[trajectory_id]
        if not self._live and time.monotonic() - self._logged > LOG_SECONDS:
            self._logged = time.monotonic()
            self._console.print(self._line())

    def ended(self, trajectory_id: str, error: str | None) -> None:
        """A trajectory is finished, or has failed."""
        self._running.discard(trajectory_id)
        if error is None:
            self._finished += 1
        else:
            self.failed[trajectory_id] = error
            self._cost_open -= self.cost_left(trajectory_id)
            self._console.print(f"[red]failed[/] {trajectory_id}: {escape(error)}", highlight=False, soft_wrap=True)

    def lost(self, trajectory_id: str) -> None:
        """A worker vanished; Tune starts the trial again."""
        self._running.discard(trajectory_id)
        self._console.print(f"[yellow]lost a worker[/] in {trajectory_id}; it goes on from its last round", highlight=False)

    def gave_up(self, trajectory_id: str, reason: str) -> None:
        """Tune does not start the trial again."""
        self._running.discard(trajectory_id)
        self.given_up[trajectory_id] = reason
        if reason not in self._told:  # one machine that cannot run trials would say so for each
            self._told.add(reason)
            self._console.print(f"[yellow]put back[/] {trajectory_id}: {escape(reason)}", highlight=False, soft_wrap=True)

    @property
    def running(self) -> AbstractSet[str]:
        """Trajectories that trials are computing."""
        return self._running

    @property
    def rounds(self) -> int:
        """Finished rounds of all trajectories of this launch."""
        return self._rounds

    def cost_left(self, trajectory_id: str) -> float:
        """Planned tokens of the rounds that a trajectory has still to do."""
        return self._cost_per_round[trajectory_id] * (self._total[trajectory_id] - self._done[trajectory_id])

    def _line(self) -> Text:
        rounds = f"{self.rounds:,}/{self._all_rounds:,} rounds"
        failed = f" · {len(self.failed)} failed" if self.failed else ""
        head = f"{self._finished:,}/{len(self._total):,} trajectories · {len(self._running)} running{failed} · {rounds}"
        return Text(f"{head} · {duration(time.monotonic() - self._began)} · {self._eta()}")

    def _eta(self) -> str:
        if self._finished + len(self.failed) == len(self._total):
            return "done"
        if not self._cost_spent or self._first_start is None:
            return "ETA ..."
        return f"ETA {duration((time.monotonic() - self._first_start) * max(0.0, self._cost_open) / self._cost_spent)}"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
