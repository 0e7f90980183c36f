"""The command ``python -m analysis.report STUDY_DIR``: one table of all rounds, and mean accuracy per arm and label budget.

Writes ``rounds.parquet``, ``report.json`` and ``table.txt`` to the study's ``report`` folder. Exit codes: 0 written; 2 the folder
is not a study, has nothing finished, or is damaged.
"""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.frames import ARM, StudyResults, mean_accuracy, read_study
from sweep.folder import StudyFolder
from sweep.plan_view import SYNTHETIC_LABEL
from trainables.errors import LedgerError, RequestError
from trainables.storage import Storage, open_storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Tabulate what a study has found so far.")
    parser.add_argument("study", metavar="STUDY_DIR", help="a study's folder: STORAGE/STUDY, a path or URI")
    parser.add_argument("--out", metavar="DIR", help="where to write; default: STUDY_DIR/report")
    options = parser.parse_args(arguments)
    try:
        folder = StudyFolder(open_storage(options.study))
        results = read_study(folder)
        out = open_storage(options.out) if options.out else folder.storage.folder("report")
        write_report(results, out)
    except (RequestError, LedgerError, ValueError, OSError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 2
    print_report(results, Console())
    Console().print(f"Written to {escape(out.location)}: rounds.parquet, report.json, table.txt", highlight=False, soft_wrap=True)
    return 0


def write_report(results: StudyResults, out: Storage) -> None:
    """Write the rounds, the numbers and the printed table."""
    buffer = io.BytesIO()
    results.rounds.to_parquet(buffer, index=False)
    out.write("rounds.parquet", buffer.getvalue())
    out.write("report.json", (json.dumps(report(results), indent=1, allow_nan=False) + "\n").encode())
    text = io.StringIO()
    print_report(results, Console(file=text, width=80))
    out.write("table.txt", text.getvalue().encode())


def report(results: StudyResults) -> dict[str, Any]:
    """Every number of the report, under stable names.

    ``arms``: acquisition, dropout_rate, mc_passes (null where T has no meaning) and ``budgets``: num_labelled, seeds and the mean
    over seeds of accuracy_deterministic and accuracy_mc (null where it was not measured), as fractions.
    """
    arms = []
    for names, table in mean_accuracy(results.rounds).groupby(ARM, dropna=False, sort=False):
        budgets = table[["num_labelled", "seeds", "accuracy_deterministic", "accuracy_mc"]].to_dict("records")
        arm = dict(zip(ARM, names, strict=True))
        arms.append(_plain(arm) | {"budgets": [_plain(budget) for budget in budgets]})
    return {
        "study": results.name,
        "synthetic": results.is_synthetic,
        "label": SYNTHETIC_LABEL if results.is_synthetic else None,
        "corpus": dict(results.corpus),
        "trajectories": {
            "planned": len(results.planned),
            "finished": len(results.finished),
            "failed": dict(results.failures),
            "missing": results.missing,
        },
        "arms": arms,
    }


def _plain(record: dict[Any, Any]) -> dict[str, Any]:
    """A record with Python's own numbers, and None for what is missing."""
    return {str(key): None if pd.isna(value) else getattr(value, "item", lambda value=value: value)() for key, value in record.items()}


def print_report(results: StudyResults, console: Console) -> None:
    """The table as a person reads it."""
    console.print(f"[bold]{results.name}[/]: accuracy on {results.corpus['test_reviews']:,} test reviews, mean over seeds", highlight=False)
    if results.is_synthetic:
        console.print(f"[yellow]{SYNTHETIC_LABEL}[/]", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("acquisition", "p", "T", "labels", "seeds", "accuracy", "MC accuracy"):
        table.add_column(heading, justify="left" if heading == "acquisition" else "right")
    for row in mean_accuracy(results.rounds).to_dict("records"):
        table.add_row(
            str(row["acquisition"]),
            f"{row['dropout_rate']:g}",
            "" if pd.isna(row["mc_passes"]) else str(row["mc_passes"]),
            f"{row['num_labelled']:,}",
            str(row["seeds"]),
            f"{row['accuracy_deterministic']:.4f}",
            "" if pd.isna(row["accuracy_mc"]) else f"{row['accuracy_mc']:.4f}",
        )
    console.print(table, highlight=False)
    console.print(
        f"{len(results.finished):,} of {len(results.planned):,} trajectories finished, {len(results.failures):,} failed, "
        f"{len(results.missing):,} missing",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
