"""In which order trajectories are started, so that a study can be analysed early and no core idles at its end.

The plan's order is seed-major: whole paired blocks finish early, and a running study can be analysed. Followed to the end it has a
price: where the last block's longest trajectories start when little else is left, the other cores wait for them. *Longest first over
the whole study* has no such end, and no finished block before the end either: stopped halfway, it would leave the long arm of every
seed and nothing to compare it with. *Holding back short trajectories* to fill every gap takes them from early blocks, which then stay
open to the end: for the full study on four cores that opens all ten blocks to win nothing.

So the plan's order stands, and only the end of the study, the last `END` times as much work as the slots could do during the longest
trajectory, is started longest first. That is enough. If the whole study is no longer than that, it is started longest first, whose last
trajectory ends at most 4/3 - 1/(3 slots) times as late as is possible at all (Graham 1969). If it is longer, that bound holds for any
order: no slot is idle before the last trajectory starts, so it ends at most (1 - 1/slots) longest trajectories after the average slot,
and a third of the average slot is longer than the longest trajectory. And where the plan's own order ends as early, it stands unchanged.
"""

import heapq
import math
import time
from collections.abc import Callable, Iterable, Sequence

from trainables.spec import TrajectorySpec

COUNT_SECONDS = 10.0
"""Slots are counted this often at most: machines come and go, and asking takes a millisecond."""

END = 3
"""Of the study's work, in units of slots x longest trajectory: the smallest number with which the bound above holds."""


def order_of_starts(costs: Sequence[float], slots: int) -> list[int]:
    """The order in which to start trajectories, each as soon as a slot is free.

    Args:
        costs: of the trajectories in the plan's order, in any unit of time.
        slots: trajectories that run beside each other, at least 1.

    Returns:
        Positions in `costs`, first to start first.
    """
    planned = list(range(len(costs)))
    end = _end(costs, slots)
    mended = planned[:end] + sorted(planned[end:], key=lambda position: -costs[position])
    return mended if makespan(costs, mended, slots) < makespan(costs, planned, slots) else planned


def _end(costs: Sequence[float], slots: int) -> int:
    """Where the end of the study begins: the last trajectories that hold `END` times the slots' work during the longest one."""
    wanted = END * slots * max(costs, default=0.0)
    for position in reversed(range(len(costs))):
        wanted -= costs[position]
        if wanted <= 0:
            return position
    return 0


def makespan(costs: Sequence[float], order: Iterable[int], slots: int) -> float:
    """When the last trajectory ends, if each starts on the slot that is free first."""
    free_at = [0.0] * slots
    for position in order:
        heapq.heapreplace(free_at, free_at[0] + costs[position])
    return max(free_at)


class Queue:
    """The trajectories of a pass in the order of their starts, settled anew when the cluster has grown or shrunk.

    What was handed out keeps its order: Tune holds up to 64 trials that wait, and where a cluster has no machine yet they are those of
    one slot, which is the plan's order.
    """

    def __init__(self, specs: Iterable[TrajectorySpec], cost: Callable[[str], float], slots: Callable[[], int]) -> None:
        """`specs` stand in the plan's order; `cost` is that of what is left of one, by id; `slots` are those that there are now."""
        self._left = {spec.trajectory_id: spec for spec in specs}
        self._cost = cost
        self._count_slots = slots
        self._slots = 0
        self._counted_at = -math.inf
        self._last_to_first: list[str] = []

    def __len__(self) -> int:
        """The number of trajectories that are left."""
        return len(self._left)

    def pop(self) -> TrajectorySpec:
        """The next trajectory to start."""
        if time.monotonic() - self._counted_at > COUNT_SECONDS:
            self._counted_at, before, self._slots = time.monotonic(), self._slots, max(1, self._count_slots())
            if self._slots != before:
                ids = list(self._left)
                order = order_of_starts([self._cost(trajectory_id) for trajectory_id in ids], self._slots)
                self._last_to_first = [ids[position] for position in reversed(order)]
        return self._left.pop(self._last_to_first.pop())
