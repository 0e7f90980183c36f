"""What a person is told while a study runs: rounds and costs are counted once, whoever reports them and however often."""

import io

import pytest
from rich.console import Console

from sweep.progress import Progress
from tests.conftest import SpecFactory


def test_rounds_costs_and_the_end_by_hand(spec: SpecFactory) -> None:
    """Two trajectories of four rounds; the first has one round already, the second fails after two."""
    one, other = spec(seed=0), spec(seed=1)
    a, b = one.trajectory_id, other.trajectory_id
    console = Console(file=io.StringIO(), width=200)
    progress = Progress(console, {a: one, b: other}, {a: (1.0, 2.0, 3.0, 4.0), b: (1.0,) * 4}, {a: 1})
    assert (progress.rounds, progress.cost_left(a), progress.cost_left(b)) == (1, 9, 4)
    with progress:
        progress.started(a)
        progress.round_finished(a, 3)
        progress.round_finished(a, 3)  # a retried trial tells again what it finds in its ledger
        progress.round_finished(a, 2)
        assert (progress.rounds, progress.cost_left(a), progress.cost_spent) == (3, 4, 5)
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
    with Progress(console, {one.trajectory_id: one}, {one.trajectory_id: (0.25,) * 4}, {}) as progress:
        progress.started(one.trajectory_id)
    assert "ETA ..." in console.file.getvalue()  # type: ignore[attr-defined]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def last_frame(progress: Progress) -> list[str]:
    """What stands on a terminal of 80 columns now."""
    console = Console(file=io.StringIO(), width=80)
    console.print(progress._display())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_four_are_shown_each(spec: SpecFactory) -> None:
    specs = {one.trajectory_id: one for seed in range(4) for one in [spec(acquisition="entropy", mc_passes=10, seed=seed)]}
    progress = Progress(Console(file=Terminal(), width=80), specs, dict.fromkeys(specs, (1.0,) * 4), {})
    for trajectory_id in list(specs)[:2]:
        progress.started(trajectory_id)
    progress.round_finished(next(iter(specs)), 1)
    assert last_frame(progress) == [
        "0/4 trajectories · 2 running",
        "1/16 rounds · 0 s · ETA 0 s",
        "  entropy p=0.25 T=10, seed 0: round 2/4, 20 labels, 0 s",
        "  entropy p=0.25 T=10, seed 1: round 1/4, 10 labels, 0 s",
    ]


def test_four_thousand_are_shown_by_arm(spec: SpecFactory) -> None:
    """64 run at once: no line for each, none wrapped, and lost, failed and finished ones are counted where they belong."""
    arms = [{"acquisition": "random"}, {"acquisition": "my_own_package.acquisition_functions:with_a_long_name", "mc_passes": 50}]
    specs = {one.trajectory_id: one for seed in range(2000) for arm in arms for one in [spec(seed=seed, **arm)]}
    progress = Progress(Console(file=Terminal(), width=80), specs, dict.fromkeys(specs, (1.0,) * 4), {})
    ids = list(specs)
    for trajectory_id in ids[:64]:
        progress.started(trajectory_id)
    progress.ended(ids[0], None)
    progress.ended(ids[1], "a loss of nan")
    progress.lost(ids[2])
    progress.started(ids[2])
    progress.started(ids[2])
    frame = last_frame(progress)
    assert frame[0] == "1/4,000 trajectories · 62 running · 1 failed"
    assert frame[2] == "  random p=0.25: 1/2,000, 31 running"
    assert frame[3] == "  my_own_package.acquisition_functions:with_a_lo…: 0/2,000, 31 running, 1 failed"
    assert len(frame) == 4
    assert max(map(len, frame)) <= 80


def test_many_arms_and_many_trials_are_the_totals_alone(spec: SpecFactory) -> None:
    specs = {one.trajectory_id: one for seed in range(2) for p in range(11) for one in [spec(seed=seed, dropout_rate=p / 20)]}
    progress = Progress(Console(file=Terminal(), width=80), specs, dict.fromkeys(specs, (1.0,) * 4), {})
    for trajectory_id in specs:
        progress.started(trajectory_id)
    assert len(last_frame(progress)) == 2


@pytest.mark.parametrize(("height", "lines"), [(24, 7), (8, 7), (7, 4), (4, 2)])
def test_it_never_needs_more_lines_than_there_are(spec: SpecFactory, height: int, lines: int) -> None:
    """Five of two arms run: a line each, or if these do not fit a line for each arm, or the totals alone."""
    specs = {one.trajectory_id: one for seed in range(9) for p in (0.1, 0.2) for one in [spec(seed=seed, dropout_rate=p)]}
    progress = Progress(Console(file=Terminal(), width=80, height=height), specs, dict.fromkeys(specs, (1.0,) * 4), {})
    for trajectory_id in list(specs)[:5]:
        progress.started(trajectory_id)
    assert len(last_frame(progress)) == lines < height


def test_totals_are_never_wrapped(spec: SpecFactory) -> None:
    """One line where it fits, else two: of 123,456 trajectories at 80 columns, of which a tenth failed."""
    one = spec()
    specs = dict.fromkeys((f"{number:016x}" for number in range(123_456)), one)
    console = Console(file=io.StringIO(), width=80)
    with Progress(console, specs, dict.fromkeys(specs, (1.0,) * 4), {}) as progress:
        progress.failed |= dict.fromkeys(list(specs)[:12_345], "a loss of nan")
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "0/123,456 trajectories · 0 running · 12,345 failed",
        "0/493,824 rounds · 0 s · ETA ...",
    ]


def test_who_failed_is_told_by_arm_and_seed(spec: SpecFactory) -> None:
    one = spec(seed=7)
    console = Console(file=io.StringIO(), width=80)
    progress = Progress(console, {one.trajectory_id: one}, {one.trajectory_id: (0.25,) * 4}, {})
    progress.started(one.trajectory_id)
    progress.ended(one.trajectory_id, "a loss of nan")
    assert console.file.getvalue() == f"failed {one.trajectory_id} (random p=0.25, seed 7): a loss of nan\n"  # type: ignore[attr-defined]
