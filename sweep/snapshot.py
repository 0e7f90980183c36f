"""How far a study is at one moment, worked out from what a listing of its folder shows (`listing.py`).

Times are those of the storage: a round is as old as its file. While a launch runs, *now* is when the newest file was written, which is its
lease every few seconds, and the launch began when its record was: so neither the launch's clock nor the reader's matters. Only whether
the launch lives is judged by the reader's clock, as another launch would judge it (`lease.py`): clocks must agree within half a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sweep.lease import Holder
from sweep.pace import Pace, Traced, rounds_in

HOUR = 3600.0


@dataclass(frozen=True)
class LaunchSeen:
    """The newest launch, or the one that runs the study now."""

    name: str
    outcome: str
    """As the record says; ``running`` also of a launch that was killed."""
    began: float
    """When its record was first written, by the storage's clock."""
    selected: frozenset[str] | None
    """Ids that it was told to run; None for all that its study names."""


@dataclass(frozen=True)
class Snapshot:
    """A study's folder at one moment."""

    study: str
    location: str
    holder: Holder | None
    launch: LaunchSeen | None
    trajectories: Mapping[str, Traced]
    asked: frozenset[str]
    """Ids of those that the launch which runs the study is to finish, or, where none does, the latest one's study names."""
    running: frozenset[str]
    """Ids of those that the launch which runs the study has begun and not ended."""
    now: float
    """Seconds since 1970, by the storage's clock."""

    @property
    def is_running(self) -> bool:
        """Whether a launch that is alive holds the study."""
        return self.holder is not None and not self.holder.is_dead

    @cached_property
    def failed(self) -> list[str]:
        """Ids of those that failed, the newest first; without those that the running launch has begun again, or will."""
        retried_if_before = self.launch.began if self.is_running and self.launch else 0.0
        found = [
            (one.failed_at, trajectory_id)
            for trajectory_id, one in self.trajectories.items()
            if one.failed_at is not None and not one.sealed and trajectory_id not in self.running
            if not (one.failed_at < retried_if_before and trajectory_id in self.asked)
        ]
        return [trajectory_id for _, trajectory_id in sorted(found, reverse=True)]

    @cached_property
    def waiting(self) -> list[str]:
        """Ids of those that are to be finished, and are neither running nor failed."""
        busy = self.running | set(self.failed)
        return [i for i, one in self.trajectories.items() if i in self.asked and i not in busy and not one.sealed]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Trajectories: planned, done, running, failed, waiting; and left out, which only an earlier or wider launch asked for."""
        done = sum(one.sealed for one in self.trajectories.values())
        found = {"done": done, "running": len(self.running), "failed": len(self.failed), "waiting": len(self.waiting)}
        return {"planned": len(self.trajectories), **found, "left_out": len(self.trajectories) - sum(found.values())}

    @cached_property
    def rounds(self) -> tuple[int, int]:
        """Finished rounds, and all."""
        everyone = self.trajectories.values()
        return sum(len(one.budgets) - len(one.left) for one in everyone), sum(len(one.budgets) for one in everyone)

    @cached_property
    def pace(self) -> Pace:
        """What rounds take."""
        return Pace(self.trajectories.values())

    @cached_property
    def window(self) -> tuple[float, float] | None:
        """The last hour of the launch, or all of it if it is shorter; None if no launch has begun."""
        if self.launch is None:
            return None
        end = self.now if self.is_running else max((one.last_sign for one in self.trajectories.values()), default=0.0)
        return max(self.launch.began, end - HOUR), end

    @property
    def rounds_per_hour(self) -> float | None:
        """In the last hour of the launch; None where no round was finished in that."""
        found = rounds_in(self.trajectories.values(), self.window) if self.window else 0
        return found / max(self.window[1] - self.window[0], 1.0) * HOUR if self.window and found else None

    @property
    def seconds_left(self) -> float | None:
        """Until the launch that runs the study is done (see `pace.py`); None where none runs, or no round is finished yet."""
        if not self.is_running or self.window is None:
            return None
        unfinished = [self.trajectories[trajectory_id] for trajectory_id in (*self.running, *self.waiting)]
        return self.pace.seconds_left(unfinished, self.trajectories.values(), self.window)
