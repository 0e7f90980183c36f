"""What a plan looks like to a person and to a program, before anything is run."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweep.folder import StudyFolder
from sweep.plan import Plan, describe_corpus
from sweep.study import Study
from trainables.corpus import Corpus

SYNTHETIC_LABEL = "SYNTHETIC reviews, generated here: results say nothing about real reviews"


def plan_as_dict(study: Study, corpus: Corpus, plan: Plan, folder: StudyFolder) -> dict[str, Any]:
    """The plan and how much of it is done, as plain values; what ``--dry-run --json`` prints."""
    finished = folder.finished() & set(plan.specs)
    remaining = plan.remaining(finished)
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
        "remaining": len(remaining),
        "rounds": sum(spec.num_rounds for spec in plan.specs.values()),
        "rounds_remaining": sum(spec.num_rounds - rounds_done[spec.trajectory_id] for spec in remaining),
        "remaining_trajectories": [
            {
                "trajectory_id": spec.trajectory_id,
                "seed": spec.seed,
                "acquisition": spec.acquisition,
                "dropout_rate": spec.dropout_rate,
                "mc_passes": spec.mc_passes,
                "rounds": spec.num_rounds,
                "rounds_done": rounds_done[spec.trajectory_id],
            }
            for spec in remaining
        ],
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
    table.add_row(f"{view['remaining']:,}", f"to run ({view['rounds_remaining']:,} rounds)")
    console.print(table, highlight=False)
