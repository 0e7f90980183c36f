"""The command ``python -m analysis.report STUDY_DIR_OR_TABLE``: what a study has found, with a tested answer to each question.

Writes ``report.html`` (one self-contained page), ``report.json`` (every number on it), ``tables`` (CSV and LaTeX), ``figures`` (SVG
and PDF) and ``rounds.parquet`` (what all of it was computed from). Exit codes: 0 written; 2 the request was wrong or the results
cannot be used, with the reason.
"""

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from trainables.errors import LedgerError, RequestError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.frames import Results
    from trainables.storage import Storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Answer Q1 and Q2 from what a study has found so far.")
    parser.add_argument(
        "results",
        metavar="STUDY_DIR_OR_TABLE",
        help="a study's folder (STORAGE/STUDY, a path or URI), or a table of rounds (.csv, .parquet)",
    )
    parser.add_argument("--out", metavar="DIR", help="where to write; default: STUDY_DIR/report, or TABLE-report")
    parser.add_argument("--plan", metavar="FILE", help="a YAML file with another analysis section; the report will say that it was used")
    options = parser.parse_args(arguments)
    try:
        return _carry_out(options)
    except (RequestError, LedgerError, OSError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 2


def _carry_out(options: argparse.Namespace) -> int:
    """Read, analyse, write and say what was found; the heavy libraries are imported when there is something to do."""
    from analysis.findings import findings

    results, out = _read(options)
    found = findings(results)
    _write(out, found, results.rounds)
    _print(found, Console())
    Console().print(f"The page: {escape(out.location)}/report.html", highlight=False, soft_wrap=True)
    return 0


def _read(options: argparse.Namespace) -> "tuple[Results, Storage]":
    """The results that were asked for, and where the report goes.

    Raises:
        RequestError: they cannot be read, or the plan cannot, or nothing can be written to such a place.
    """
    from analysis.loading import read_results
    from trainables.storage import open_storage

    results = read_results(options.results, options.plan)
    if options.out is None and results.folder is not None:
        return results, results.folder.storage.folder("report")
    place = options.out or str(Path(options.results).with_suffix("")) + "-report"
    try:
        return results, open_storage(place)
    except ValueError as error:
        raise RequestError(f"--out {place}: {error}; give a folder, or an s3:// or gs:// URI") from error


def _write(out: "Storage", found: dict[str, Any], rounds: "pd.DataFrame") -> None:
    """Write everything; the page last, so that where there is a page all that it rests on is there."""
    from analysis.figures import draw
    from analysis.page import render
    from analysis.tables import latex, tables

    figures = draw(found)
    buffer = io.BytesIO()
    rounds.to_parquet(buffer, index=False)
    out.write("rounds.parquet", buffer.getvalue())
    out.write("report.json", (json.dumps(found, indent=1, allow_nan=False) + "\n").encode())
    for name, table in tables(found).items():
        out.write(f"tables/{name}.csv", table.to_csv(index=False).encode())
        out.write(f"tables/{name}.tex", latex(name, table).encode())
    for name, drawn in figures.items():
        out.write(f"figures/{name}.svg", drawn.svg)
        out.write(f"figures/{name}.pdf", drawn.pdf)
    out.write("report.html", render(found, figures).encode())


def _print(found: Mapping[str, Any], console: Console) -> None:
    """The answers as a person reads them in a terminal."""
    counts = found["provenance"]["trajectories"]
    console.print(
        f"[bold]{escape(found['study'])}[/]: {counts['finished']:,} of {counts['planned']:,} trajectories finished", highlight=False
    )
    for warning in [found["label"], *found["warnings"]]:
        if warning:
            console.print(f"[yellow]{escape(warning)}[/]", highlight=False)
    for question in ("q1", "q2"):
        answer = found[question]
        console.print(f"[bold]{question.upper()}: {answer['verdict']}[/]. {escape(answer['sentence'])}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
