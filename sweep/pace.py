"""How fast a study's rounds come, and when they will all be there: from the times of its files alone.

A round took the time between its file and what its trajectory wrote before it: the round before, or the attempt that went on from there.
All these are times of one clock, the storage's, so machines whose clocks differ do no harm, and no round has to be read: the seconds that
stand in it would be exact, and would cost a request each.

*Rounds left over rounds an hour* would be the plain estimate, and is wrong where it matters: a round of one arm takes ten times as long as
another's, and the last ones, with the most labels, the longest. So a round weighs what the finished rounds of its arm and number took on
average; where there are none, what those of its arm did; else, what all did. The time left is the weight that is left over the weight
that was finished in an hour, and at least what the trajectory with the most left still takes, whose rounds follow each other.

What this cannot know: arms of which nothing is finished (they weigh as the others do), machines that come or go (they show within the
hour), and failures to come. A copy of a folder has its times only if the copying kept them (``rsync -a`` does).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from sweep.arm import Arm


@dataclass
class Traced:
    """One planned trajectory, and what a listing of its folder says of it; times are seconds since 1970, by the storage's clock."""

    trajectory_id: str
    arm: Arm
    seed: int
    budgets: tuple[int, ...]
    """Labels of each round that it will have."""
    rounds: dict[int, float] = field(default_factory=dict)
    """When each finished round was written, by its number."""
    attempts: dict[str, float] = field(default_factory=dict)
    """When each attempt began, by the name of its file."""
    sealed: bool = False
    failed_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Begun, and neither finished nor failed since."""
        return bool(self.attempts) and not self.sealed and (self.failed_at is None or self.failed_at < max(self.attempts.values()))

    @property
    def last_sign(self) -> float:
        """When it last wrote something."""
        return max([*self.rounds.values(), *self.attempts.values()], default=0.0)

    @property
    def left(self) -> list[int]:
        """Numbers of the rounds that are not finished."""
        return [] if self.sealed else [number for number in range(len(self.budgets)) if number not in self.rounds]

    @cached_property
    def seconds(self) -> dict[int, float]:
        """What each finished round took; only those of which it is known when they began. For when all files have been put in."""
        begun = sorted(self.attempts.values())
        found = {}
        for number, when in self.rounds.items():
            before = [attempt for attempt in begun if attempt <= when]
            before += [self.rounds[number - 1]] if number - 1 in self.rounds else []
            if before and max(before) <= when:
                found[number] = when - max(before)
        return found


class Pace:
    """What rounds take, by arm and number."""

    def __init__(self, trajectories: Iterable[Traced]) -> None:
        """Sums over the finished rounds of all trajectories."""
        self._sums: defaultdict[object, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
        for one in trajectories:
            for number, seconds in one.seconds.items():
                for key in ((one.arm, number), one.arm, None):
                    total, count = self._sums[key]
                    self._sums[key] = (total + seconds, count + 1)

    def usual(self, one: Traced, number: int) -> float | None:
        """Seconds that a round of a trajectory is expected to take; None where no round at all is finished."""
        for key in ((one.arm, number), one.arm, None):
            if key in self._sums:
                total, count = self._sums[key]
                return total / count
        return None

    def weight(self, one: Traced, numbers: Iterable[int]) -> float:
        """Seconds that some rounds of a trajectory are expected to take one after the other; 0 where nothing is known."""
        return sum(self.usual(one, number) or 0.0 for number in numbers)

    def times_the_others(self, one: Traced) -> float | None:
        """How many times as long a trajectory's rounds took as the same rounds of its arm's other seeds; None where it has no others."""
        own = others = 0.0
        for number, seconds in one.seconds.items():
            total, count = self._sums[one.arm, number]
            if count > 1:
                own += seconds
                others += (total - seconds) / (count - 1)
        return own / others if others > 0 else None

    def seconds_left(self, unfinished: Iterable[Traced], trajectories: Iterable[Traced], window: tuple[float, float]) -> float | None:
        """Until all of some trajectories are finished, if work goes on as it did in a window; None if nothing was finished in that."""
        done = sum(self.weight(one, _finished_in(one, window)) for one in trajectories)
        left = [self.weight(one, one.left) for one in unfinished]
        if done <= 0:
            return None
        return max(sum(left) / done * (window[1] - window[0]), max(left, default=0.0))


def rounds_in(trajectories: Iterable[Traced], window: tuple[float, float]) -> int:
    """Rounds that were finished in a window of time."""
    return sum(1 for one in trajectories for _ in _finished_in(one, window))


def _finished_in(one: Traced, window: tuple[float, float]) -> Iterator[int]:
    return (number for number, when in one.rounds.items() if window[0] <= when <= window[1])
