"""What a person sees while a study runs: trajectories, rounds, failures and when it will be done.

On a terminal a few lines are kept up to date, none wider or more than it has room for: the totals, and below them each running trajectory
while these are few, else each arm while those are few. Four trajectories and four thousand are both told at a glance; a line for each of
a hundred would be none. Elsewhere (a log file) the totals are written now and then.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from sweep.arm import Arm
from trainables.spec import TrajectorySpec

LOG_SECONDS = 15.0

MOST_LINES = 10
"""Lines below the totals: of running trajectories, or of arms."""

TOTALS = 2
"""Lines of the totals on a terminal."""


@dataclass
class _Tally:
    """How far the trajectories of one arm are."""

    planned: int = 0
    finished: int = 0
    failed: int = 0
    running: int = 0


class Progress:
    """Counts what happens and shows it.

    The time left is estimated from the planned cost (in seconds, or tokens) of the rounds that this launch has finished and of those that
    it has still to do. Sums are kept, not taken: the line of a study of 100,000 trajectories is drawn twice a second.
    """

    def __init__(
        self, console: Console, remaining: Mapping[str, TrajectorySpec], costs: Mapping[str, Sequence[float]], done: Mapping[str, int]
    ) -> None:
        """Nothing is shown before the block is entered.

        Args:
            console: where to.
            remaining: the trajectories that this launch runs, by id.
            costs: planned seconds or tokens of each of their rounds.
            done: rounds of each that are finished already.
        """
        self._console = console
        self._total = {trajectory_id: spec.num_rounds for trajectory_id, spec in remaining.items()}
        self._costs = costs
        self._done = {trajectory_id: done.get(trajectory_id, 0) for trajectory_id in remaining}
        self._rounds, self._all_rounds = sum(self._done.values()), sum(self._total.values())
        self.computed_seconds = 0.0
        """Seconds of computing in the rounds that this launch has finished."""
        self._cost_spent, self._cost_open = 0.0, sum(map(self.cost_left, remaining))
        self._running: dict[str, float] = {}
        """By id, when the present round began."""
        self._specs = remaining
        self._arms: defaultdict[Arm, _Tally] = defaultdict(_Tally)
        for spec in remaining.values():
            self._arms[Arm.of_spec(spec)].planned += 1
        self._finished = 0
        self.failed: dict[str, str] = {}
        """Errors of the trajectories that failed, by id."""
        self.given_up: dict[str, str] = {}
        """Trajectories whose workers vanished too often, with the last reason, by id."""
        self._told: set[str] = set()
        self._first_start: float | None = None
        self._began = self._logged = time.monotonic()
        self._live = (
            Live(console=console, get_renderable=self._display, refresh_per_second=2, transient=True) if console.is_terminal else None
        )

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
        if trajectory_id not in self._running:
            self._tally(trajectory_id).running += 1
        self._running[trajectory_id] = time.monotonic()

    def round_finished(self, trajectory_id: str, rounds: int, seconds: float = 0.0) -> None:
        """A trajectory has so many rounds now, the last of which took so many seconds of computing."""
        self.computed_seconds += seconds
        before = self._done[trajectory_id]
        self._done[trajectory_id] = max(before, rounds)
        self._rounds += self._done[trajectory_id] - before
        cost = sum(self._costs[trajectory_id][before:rounds])
        self._cost_spent += cost
        self._cost_open -= cost
        if rounds > before and trajectory_id in self._running:
            self._running[trajectory_id] = time.monotonic()
        if not self._live and time.monotonic() - self._logged > LOG_SECONDS:
            self._logged = time.monotonic()
            self._console.print(self._line())

    def ended(self, trajectory_id: str, error: str | None) -> None:
        """A trajectory is finished, or has failed."""
        self._stopped(trajectory_id)
        if error is None:
            self._finished += 1
            self._tally(trajectory_id).finished += 1
        else:
            self._tally(trajectory_id).failed += 1
            self.failed[trajectory_id] = error
            self._cost_open -= self.cost_left(trajectory_id)
            self._console.print(f"[red]failed[/] {self._named(trajectory_id)}: {escape(error)}", highlight=False, soft_wrap=True)

    def lost(self, trajectory_id: str) -> None:
        """A worker vanished; Tune starts the trial again."""
        self._stopped(trajectory_id)
        self._console.print(
            f"[yellow]lost a worker[/] in {self._named(trajectory_id)}; it goes on from its last round", highlight=False, soft_wrap=True
        )

    def gave_up(self, trajectory_id: str, reason: str) -> None:
        """Tune does not start the trial again."""
        self._stopped(trajectory_id)
        self.given_up[trajectory_id] = reason
        if reason not in self._told:  # one machine that cannot run trials would say so for each
            self._told.add(reason)
            self._console.print(f"[yellow]put back[/] {trajectory_id}: {escape(reason)}", highlight=False, soft_wrap=True)

    @property
    def running(self) -> AbstractSet[str]:
        """Trajectories that trials are computing."""
        return self._running.keys()

    @property
    def cost_spent(self) -> float:
        """Planned cost of the rounds that this launch has finished."""
        return self._cost_spent

    @property
    def rounds(self) -> int:
        """Finished rounds of all trajectories of this launch."""
        return self._rounds

    def cost_left(self, trajectory_id: str) -> float:
        """Planned cost of the rounds that a trajectory has still to do."""
        return sum(self._costs[trajectory_id][self._done[trajectory_id] :])

    def _stopped(self, trajectory_id: str) -> None:
        if trajectory_id in self._running:
            del self._running[trajectory_id]
            self._tally(trajectory_id).running -= 1

    def _named(self, trajectory_id: str) -> str:
        """An id, and what it stands for."""
        spec = self._specs[trajectory_id]
        return escape(f"{trajectory_id} ({Arm.of_spec(spec)}, seed {spec.seed})")

    def _tally(self, trajectory_id: str) -> _Tally:
        return self._arms[Arm.of_spec(self._specs[trajectory_id])]

    def _line(self) -> Text:
        """The totals in one line, or in two where one would be wrapped."""
        counts, times = self._counts(), self._times()
        return Text(f"{counts} · {times}" if len(counts) + len(times) + 3 <= self._console.width else f"{counts}\n{times}")

    def _counts(self) -> str:
        failed = f" · {len(self.failed):,} failed" if self.failed else ""
        return f"{self._finished:,}/{len(self._total):,} trajectories · {len(self._running):,} running{failed}"

    def _times(self) -> str:
        return f"{self.rounds:,}/{self._all_rounds:,} rounds · {duration(time.monotonic() - self._began)} · {self._eta()}"

    def _display(self) -> Group:
        """The totals and what is below them; a line that is too long is cut, never wrapped."""
        room = min(MOST_LINES, self._console.height - TOTALS - 1)
        lines = [self._counts(), self._times(), *self._details(room)]
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))

    def _details(self, room: int) -> Iterator[str]:
        """Each running trajectory, if there is room for them; else each arm, if there is for those."""
        running = list(self._running.items())  # in one go: events come from another thread than this display
        if len(running) <= room:
            for trajectory_id, since in sorted(running, key=lambda item: (self._specs[item[0]].seed, item[0])):
                yield self._detail(self._specs[trajectory_id], since)
        elif len(self._arms) <= room:
            for arm, tally in self._arms.items():
                failed = f", {tally.failed:,} failed" if tally.failed else ""
                yield self._beside(str(arm), f": {tally.finished:,}/{tally.planned:,}, {tally.running:,} running{failed}")

    def _detail(self, spec: TrajectorySpec, since: float) -> str:
        """What a running trajectory is at."""
        number = min(self._done[spec.trajectory_id], spec.num_rounds - 1)
        labels = f"{spec.label_budgets[number]:,}" if spec.label_budgets else "all"
        at = f"round {number + 1}/{spec.num_rounds}, {labels} labels, {duration(time.monotonic() - since)}"
        return self._beside(str(Arm.of_spec(spec)), f", seed {spec.seed}: {at}")

    def _beside(self, arm: str, text: str) -> str:
        """A line with an arm, whose name (a plug-in's may be long) is cut before the numbers are."""
        room = max(1, self._console.width - len(text) - 2)
        return f"  {arm if len(arm) <= room else arm[: room - 1] + '…'}{text}"

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
