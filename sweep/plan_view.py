"""What a plan looks like to a person and to a program, before anything is run."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweep.folder import StudyFolder
from sweep.plan import Plan, describe_corpus
from sweep.progress import duration
from sweep.prospects import prospects
from sweep.study import Study
from trainables.corpus import Corpus
from trainables.spec import TrajectorySpec

SYNTHETIC_LABEL = "SYNTHETIC reviews, generated here: results say nothing about real reviews"


def plan_as_dict(
    study: Study, corpus: Corpus, plan: Plan, folder: StudyFolder, selected: AbstractSet[str], slower_here: Sequence[str]
) -> dict[str, Any]:
    """The plan and how much of it is done, as plain values; what ``--dry-run --json`` prints.

    Of what is not finished, `selected` will be run. `slower_here` is why this machine would run trials slower than it could, if it is
    to run any.
    """
    finished = folder.finished() & set(plan.specs)
    remaining = [spec for spec in plan.remaining(finished) if spec.trajectory_id in selected]
    rounds_done = folder.rounds_done(spec.trajectory_id for spec in remaining)
    merged, refused = plan.notes()
    return {
        "study": study.study,
        "location": folder.storage.location,
        "corpus": describe_corpus(corpus),
        "synthetic": corpus.source == "synthetic",
        "cells": len(plan.cells),
        "trajectories": len(plan.specs),
        "merged": merged,
        "refused": refused,
        "finished": len(finished),
        "failed": sorted(folder.failures(spec.trajectory_id for spec in remaining)),
        "left_out": len(plan.specs) - len(finished) - len(remaining),
        "remaining": len(remaining),
        "rounds": sum(spec.num_rounds for spec in plan.specs.values()),
        "can_show": prospects(study),
        "slower_here": list(slower_here),
        "rounds_remaining": sum(spec.num_rounds - rounds_done[spec.trajectory_id] for spec in remaining),
        "remaining_trajectories": [_spec_as_dict(spec, rounds_done[spec.trajectory_id]) for spec in remaining],
    }


def _spec_as_dict(spec: TrajectorySpec, rounds_done: int) -> dict[str, Any]:
    """A trajectory that has still to be run, as plain values."""
    return {
        "trajectory_id": spec.trajectory_id,
        "seed": spec.seed,
        "acquisition": spec.acquisition,
        "dropout_rate": spec.dropout_rate,
        "mc_passes": spec.mc_passes,
        "rounds": spec.num_rounds,
        "rounds_done": rounds_done,
    }


def print_plan(view: Mapping[str, Any], console: Console) -> None:
    """The plan in a few lines."""
    corpus = view["corpus"]
    console.print(f"[bold]{view['study']}[/] in {escape(view['location'])}", highlight=False, soft_wrap=True)
    if view["synthetic"]:
        console.print(f"[yellow]{SYNTHETIC_LABEL}[/]", highlight=False)
    console.print(
        f"{corpus['source']}: {corpus['train_reviews']:,} training and {corpus['test_reviews']:,} test reviews, "
        f"{len(corpus['classes'])} classes",
        highlight=False,
    )
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{view['cells']:,}", "cells (seed x acquisition x dropout rate x T, and full data)")
    for kind, verb in (("merged", "share a trajectory"), ("refused", "refused")):
        for reason, count in view[kind].items():
            table.add_row(f"{count:,}", f"  of them {verb}: {reason}")
    table.add_row(f"{view['trajectories']:,}", f"unique trajectories ({view['rounds']:,} rounds)")
    table.add_row(f"{view['finished']:,}", "finished already")
    if view["failed"]:
        table.add_row(f"{len(view['failed']):,}", "failed at the last launch and to be run again")
    if view["left_out"]:
        table.add_row(f"{view['left_out']:,}", "left out by --only or --seeds")
    table.add_row(f"{view['remaining']:,}", f"to run ({view['rounds_remaining']:,} rounds)")
    console.print(table, highlight=False)
    _print_estimate(view["estimate"], console)
    _print_prospects(view["can_show"], console)
    for drawback in view["slower_here"]:
        console.print(f"[yellow]slower than it could be:[/] this machine: {escape(drawback)}", highlight=False, soft_wrap=True)


def _print_estimate(view: Mapping[str, Any], console: Console) -> None:
    """What is left will cost, in two lines at most."""
    tokens = " · ".join(f"{kind} {count:.2g}" for kind, count in view["tokens"].items() if count)
    if not tokens:
        return
    if view["hours"] is None:
        console.print(f"tokens: {tokens}. No estimate of time: {escape(view['reason'])}", highlight=False, soft_wrap=True)
        return
    places = f"{view['places']} trial{'s' if view['places'] > 1 else ''} at a time"
    money = "" if view["money"] is None else f" ({view['money']:,.2f} at {view['price_per_hour']:g} an hour)"
    speed = "machines as fast as this one" if view["elsewhere"] else "this machine"
    console.print(
        f"about {_hours(view['hours'], view['unit'])}{money}; {duration(view['wall_seconds'])} on {speed}, {places}", highlight=False
    )
    console.print(f"tokens: {tokens}", highlight=False)


def _hours(hours: float, unit: str) -> str:
    """Hours of cores or GPUs, or minutes of them."""
    return f"{hours:,.3g} {unit}-hours" if hours >= 1 else f"{hours * 60:,.2g} {unit}-minutes"


def _print_prospects(view: Mapping[str, Any], console: Console) -> None:
    """What the study can show, in a line a question, and what it cannot."""
    q1, q2, arm = view["q1"], view["q2"], view["q1"]["arm"]
    powers = ", ".join(f"{power:.2f} at {float(sd) * 100:g}" for sd, power in q1["power_by_seed_sd"].items())
    passes = f" T={arm['mc_passes']}" if arm and arm["mc_passes"] else ""
    name = f"{arm['acquisition']} p={arm['dropout_rate']:g}{passes}" if arm else "no arm"
    console.print(
        f"Q1 ({name}, margin {q1['margin'] * 100:g} points): smallest p {q1['smallest_p']:.2g} (one-sided alpha {q1['alpha']:g}); "
        f"power where there is no difference, by the seeds' SD in points: {powers}",
        highlight=False,
    )
    effect = f"an effect of {q2['mde80_in_sds']:.2f} SDs or more" if q2["mde80_in_sds"] else "no effect, however large,"
    console.print(
        f"Q2: smallest p {q2['smallest_p']:.2g} (two-sided alpha {q2['alpha']:g}, Holm over {q2['contrasts']}); "
        f"{effect} would be found with 80% power",
        highlight=False,
    )
    for warning in view["warnings"]:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)
