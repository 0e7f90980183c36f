"""What a person is told while a study runs: rounds and costs are counted once, whoever reports them and however often."""

import io

from rich.console import Console

from sweep.progress import Progress
from tests.conftest import SpecFactory


def test_rounds_costs_and_the_end_by_hand(spec: SpecFactory) -> None:
    """Two trajectories of four rounds, at 2 and 1 a round; the first has one round already, the second fails after two."""
    one, other = spec(seed=0), spec(seed=1)
    a, b = one.trajectory_id, other.trajectory_id
    console = Console(file=io.StringIO(), width=200)
    progress = Progress(console, {a: one, b: other}, {a: 8.0, b: 4.0}, {a: 1})
    assert (progress.rounds, progress.cost_left(a), progress.cost_left(b)) == (1, 6, 4)
    with progress:
        progress.started(a)
        progress.round_finished(a, 3)
        progress.round_finished(a, 3)  # a retried trial tells again what it finds in its ledger
        progress.round_finished(a, 2)
        assert (progress.rounds, progress.cost_left(a)) == (3, 2)
    assert console.file.getvalue().startswith("0/2 trajectories · 1 running · 3/8 rounds · 0 s · ETA 0 s")  # type: ignore[attr-defined]
    with progress:
        progress.round_finished(a, 4)
        progress.ended(a, None)
        progress.started(b)
        progress.round_finished(b, 2)
        progress.ended(b, "a loss of nan")
    assert console.file.getvalue().endswith("1/2 trajectories · 0 running · 1 failed · 6/8 rounds · 0 s · done\n")  # type: ignore[attr-defined]
    assert progress.failed == {b: "a loss of nan"}


def test_no_time_is_told_before_a_round_is_finished(spec: SpecFactory) -> None:
    one = spec()
    console = Console(file=io.StringIO(), width=200)
    with Progress(console, {one.trajectory_id: one}, {one.trajectory_id: 1.0}, {}) as progress:
        progress.started(one.trajectory_id)
    assert "ETA ..." in console.file.getvalue()  # type: ignore[attr-defined]
