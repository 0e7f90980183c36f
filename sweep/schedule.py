"""In which order trajectories are started, so that a study can be analysed early and no core idles at its end.

The plan's order is seed-major: whole paired blocks finish early, and a running study can be analysed. Followed to the end it has a
price: the longest trajectory of the last block (a full-data model, say) may start when little else is left, and the other cores
then wait for it. *Longest first over the whole study* has no such end, but also no finished block before the end: a study that is
stopped halfway would have its full-data models for every seed, and nothing to compare them with.

So the plan's order is kept, but for one rule: **a trajectory starts before the work behind it is too little to keep the other slots
busy beside it**. The order is built from its end. At each place stands, of those that the work behind them would outlast, the one
that the plan has last; where there is none, as at the very end, the shortest that is left. While much work is left the rule asks for
nothing, and the order is the plan's but for the few that were moved forward.

A trajectory that is placed by the first half of the rule cannot end after the average slot. What the second half leaves is the end of
a longest-first order, with its bound (Graham 1969): at most 4/3 - 1/(3 slots) of the shortest time that is possible. Where the plan's
own order ends as early, it stands unchanged.
"""

import heapq
from collections.abc import Iterable, Sequence


def order_of_starts(costs: Sequence[float], slots: int) -> list[int]:
    """The order in which to start trajectories, each as soon as a slot is free.

    Args:
        costs: of the trajectories in the plan's order, in any unit of time.
        slots: trajectories that run beside each other, at least 1.

    Returns:
        Positions in `costs`, first to start first.
    """
    planned, mended = list(range(len(costs))), _mended(costs, slots)
    return mended if makespan(costs, mended, slots) < makespan(costs, planned, slots) else planned


def _mended(costs: Sequence[float], slots: int) -> list[int]:
    """The plan's order under the rule, built from its end."""
    shortest_first = sorted(range(len(costs)), key=lambda position: (costs[position], -position))
    may_follow: list[int] = []  # those that the work behind would outlast, the plan's last on top
    order: list[int] = []
    behind, looked_at = 0.0, 0
    while len(order) < len(costs):
        while looked_at < len(costs) and (slots - 1) * costs[shortest_first[looked_at]] <= behind:
            heapq.heappush(may_follow, -shortest_first[looked_at])
            looked_at += 1
        if may_follow:
            position = -heapq.heappop(may_follow)
        else:
            position = shortest_first[looked_at]
            looked_at += 1
        order.append(position)
        behind += costs[position]
    return order[::-1]


def makespan(costs: Sequence[float], order: Iterable[int], slots: int) -> float:
    """When the last trajectory ends, if each starts on the slot that is free first."""
    free_at = [0.0] * slots
    for position in order:
        heapq.heapreplace(free_at, free_at[0] + costs[position])
    return max(free_at)
