"""The order of starts: the plan's while much is left, longest first at the end, and never worse than either would have it."""

from itertools import product

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from sweep import schedule
from sweep.cluster import places
from sweep.schedule import END, Queue, makespan, order_of_starts
from sweep.sections import Resources
from tests.conftest import SpecFactory

COSTS = st.lists(st.floats(0.1, 100) | st.sampled_from([1.0, 2.0, 30.0]), min_size=1, max_size=60)
SLOTS = st.integers(1, 9)


def test_the_last_long_one_no_longer_ends_alone() -> None:
    """Two slots: 1 1 1 1 4 ends at 6, with one slot idle for 4; 4 1 1 1 1 ends at 4."""
    costs = [1.0, 1.0, 1.0, 1.0, 4.0]
    assert makespan(costs, range(5), 2) == 6
    assert order_of_starts(costs, 2) == [4, 0, 1, 2, 3]
    assert makespan(costs, order_of_starts(costs, 2), 2) == 4


def test_the_longest_of_the_last_block_moves_to_the_front_of_the_end() -> None:
    """Two slots, ten seeds of 5 2 1 and a long 8: of 88 in all the end is 3 x 2 x 8 = 48, which leaves five blocks as planned."""
    costs = [5.0, 2.0, 1.0] * 10 + [8.0]
    order = order_of_starts(costs, 2)
    assert order[:16] == [*range(15), 30]
    assert makespan(costs, order, 2) == 44
    assert makespan(costs, range(31), 2) == 48


def test_with_one_slot_or_equal_costs_the_plan_stands() -> None:
    assert order_of_starts([1.0, 7.0, 3.0], 1) == [0, 1, 2]
    assert order_of_starts([2.0] * 50, 8) == list(range(50))
    assert order_of_starts([1.0, 7.0, 3.0], 4) == [0, 1, 2]
    assert order_of_starts([], 4) == []


@given(COSTS, SLOTS)
def test_every_trajectory_once_and_never_later_than_the_plan(costs: list[float], slots: int) -> None:
    order = order_of_starts(costs, slots)
    assert sorted(order) == list(range(len(costs)))
    assert makespan(costs, order, slots) <= makespan(costs, range(len(costs)), slots)


@given(COSTS, SLOTS)
def test_seed_major_while_plenty_is_left(costs: list[float], slots: int) -> None:
    """Whatever starts before the end of the study starts at its place in the plan."""
    order = order_of_starts(costs, slots)
    for position in range(len(costs)):
        if sum(costs[position + 1 :]) > END * slots * max(costs) * (1 + 1e-9):
            assert order[position] == position


@given(COSTS, SLOTS)
def test_the_bound_of_longest_first_holds(costs: list[float], slots: int) -> None:
    """Against the average slot it can be stated without the best order, where the longest trajectory is a third of that at most."""
    average = sum(costs) / slots
    ends = makespan(costs, order_of_starts(costs, slots), slots)
    assert ends <= average + (1 - 1 / slots) * max(costs) + 1e-9
    if average > 3 * max(costs):
        assert ends <= (4 / 3 - 1 / (3 * slots)) * average + 1e-9


@given(st.lists(st.integers(1, 12).map(float), min_size=1, max_size=7), st.integers(1, 3))
def test_the_bound_against_the_best_of_all_assignments(costs: list[float], slots: int) -> None:
    assignments = product(range(slots), repeat=len(costs))
    best = min(max(sum(c for c, at in zip(costs, places, strict=True) if at == slot) for slot in range(slots)) for places in assignments)
    assert makespan(costs, order_of_starts(costs, slots), slots) <= (4 / 3 - 1 / (3 * slots)) * best + 1e-9


@pytest.mark.parametrize(("slots", "ends"), [(1, 6.0), (2, 4.0), (3, 3.0)])
def test_makespan_by_hand(slots: int, ends: float) -> None:
    """1 2 3 in this order: alone; 1 and 2, then 3 after the 1; side by side."""
    assert makespan([1.0, 2.0, 3.0], range(3), slots) == ends


def test_the_queue_settles_its_order_anew_when_slots_come(spec: SpecFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slot: as planned. Two: what is left longest first, since it is less than 3 x 2 x the longest."""
    monkeypatch.setattr(schedule, "COUNT_SECONDS", -1.0)
    specs = [spec(seed=seed) for seed in range(6)]
    costs = {one.trajectory_id: cost for one, cost in zip(specs, [1.0, 1.0, 1.0, 1.0, 1.0, 4.0], strict=True)}
    slots = [0]
    queue = Queue(specs, costs.__getitem__, lambda: slots[0])
    assert len(queue) == 6
    assert queue.pop().seed == 0
    slots[0] = 2
    assert [queue.pop().seed for _ in range(5)] == [5, 1, 2, 3, 4]
    assert len(queue) == 0


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        ({"cpu": 1}, 4 + 16),
        ({"cpu": 3}, 1 + 5),
        ({"cpu": 1, "gpu": 0.3}, 2 * 3),  # three trials share a GPU, and none has a part of each
        ({"cpu": 1, "gpu": 2.0}, 1),
        ({"cpu": 5, "gpu": 0.25}, 3),
        ({"cpu": 32}, 0),
    ],
)
def test_the_slots_of_a_cluster(wanted: dict[str, float], held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 4 cores, one of 16 with two GPUs, and one that is gone."""
    machines = [
        {"Alive": True, "Resources": {"CPU": 4.0}},
        {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 2.0}},
        {"Alive": False, "Resources": {}},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: machines)
    assert places(Resources.model_validate(wanted)) == held
