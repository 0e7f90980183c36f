"""The command ``python -m sweep.launch``: plan a study, then show the plan, or run what remains of it and report.

Exit codes: 0 all well; 1 some trajectories failed, the storage went away, or
the report could not be written; 2 the request was wrong and nothing was
written; 130 interrupted.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.markup import escape

from sweep.cluster import check_resources, preflight, ray_cluster
from sweep.data import load_corpus
from sweep.estimate import Calibration, actual, calibrate, estimate
from sweep.folder import StudyFolder
from sweep.lease import held, refuse_if_held
from sweep.plan import Plan, make_plan
from sweep.plan_view import plan_as_dict, print_plan
from sweep.progress import Progress
from sweep.provenance import circumstances, launch_name
from sweep.runner import context_of, execution_of, run
from sweep.selection import selected, with_seeds
from sweep.study import Study
from sweep.study_file import load_study
from sweep.tracker_callbacks import open_trackers
from trainables.corpus import Corpus
from trainables.errors import RequestError, StorageError
from trainables.ledger import now
from trainables.node import drawbacks
from trainables.spec import TrajectorySpec

OK, SOME_FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
DEFAULT_CONFIG = "quickstart.yaml"


@dataclass(frozen=True)
class Request:
    """A launch that was found possible: everything is read and checked, nothing is written."""

    study: Study
    corpus: Corpus
    plan: Plan
    folder: StudyFolder
    selected: AbstractSet[str]
    """Ids of the trajectories that this launch may run."""

    calibration: Calibration
    """Of this machine, for the study's trajectories."""

    def estimate(self) -> dict[str, Any]:
        """What is left will cost."""
        done = self.folder.rounds_done(spec.trajectory_id for spec in self.remaining(self.folder))
        return estimate(self.plan, self.calibration, self.study.resources, done)

    def part(self) -> list[str] | None:
        """The ids of what this launch may run, if that is not the whole study."""
        return sorted(self.selected) if len(self.selected) < len(self.plan.specs) else None

    def remaining(self, folder: StudyFolder) -> list[TrajectorySpec]:
        """What this launch has still to run, in order."""
        return [spec for spec in self.plan.remaining(folder.finished()) if spec.trajectory_id in self.selected]


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    output, messages = Console(), Console(stderr=True)
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        request = _prepare(options, messages)
        study = request.study
        slower_here = [] if options.address else drawbacks(execution_of(study.resources), study.classifier, study.model.precision)
        view = plan_as_dict(study, request.corpus, request.plan, request.folder, request.selected, slower_here)
        view["estimate"] = request.estimate() | {"elsewhere": bool(options.address)}
        if options.dry_run and options.json:
            print(json.dumps(view, indent=1))
        else:
            print_plan(view, output)
        return OK if options.dry_run else _launch(request, options, output)
    except RequestError as error:
        messages.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return WRONG_REQUEST
    except KeyboardInterrupt:
        messages.print("Interrupted. Every finished round is kept; the same command goes on.")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, say) has seen enough
        return OK
    except OSError as error:
        messages.print(f"[bold red]error:[/] {escape(str(error))}: every finished round is kept; mend it, and give the same command again")
        return SOME_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sweep.launch", description="Run what remains of a study, and report.")
    parser.add_argument("config", nargs="?", metavar="CONFIG", help=f"study file, or the name of a shipped one; default: {DEFAULT_CONFIG}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a field, as in grid.seeds=20")
    parser.add_argument("--storage", metavar="PATH", help="folder or URI for the results; overrides the study file")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="failed|ID",
        help="run only what failed, or this trajectory; repeatable",
    )
    parser.add_argument("--seeds", metavar="SEEDS", help='run only these seeds, as in 11-20 or "3,7"; new ones are added to the study')
    parser.add_argument("--dry-run", action="store_true", help="show the plan and stop; nothing is written")
    parser.add_argument("--json", action="store_true", help="with --dry-run: the plan as JSON")
    parser.add_argument("--address", metavar="ADDRESS", help="a running Ray cluster, as in auto; default: this machine")
    parser.add_argument("--no-report", action="store_true", help="do not write the report at the end")
    return parser


def _as_interrupt(signal_number: int, frame: FrameType | None) -> None:
    """SIGTERM stops a launch as Ctrl-C does."""
    raise KeyboardInterrupt


def _prepare(options: argparse.Namespace, messages: Console) -> Request:
    """Read and check everything that can be wrong before anything is written."""
    if options.json and not options.dry_run:
        raise RequestError("--json shows a plan: give it together with --dry-run")
    with _config(options.config) as path:
        study = load_study(path, options.set)
    if options.storage == "":
        raise RequestError("--storage is empty; give a folder or a URI, or leave it out")
    study = with_seeds(study, options.seeds)
    folder = StudyFolder.of(study, options.storage)
    corpus = load_corpus(study.data, messages)
    plan = make_plan(study, corpus)
    folder.check(study, corpus)
    chosen = selected(plan, folder, options.only, options.seeds)
    with messages.status("measuring how fast this machine is (once: the result is cached)"):
        calibration = calibrate(plan, corpus, study.resources)
    return Request(study, corpus, plan, folder, chosen, calibration)


def _config(given: str | None) -> AbstractContextManager[Path]:
    """The study file: a path, or the name of one that is shipped."""
    shipped = files("configs") / f"{(given or DEFAULT_CONFIG).removesuffix('.yaml')}.yaml"
    if given and (Path(given).exists() or not re.fullmatch(r"[\w-]+(\.yaml)?", given) or not shipped.is_file()):
        return nullcontext(Path(given))
    return as_file(shipped)


def _launch(request: Request, options: argparse.Namespace, output: Console) -> int:
    """Run what remains, report, and say what to do next. Nothing is written before Ray is there and can run the trials."""
    command = [sys.executable, "-m", "sweep.launch", *sys.argv[1:]]
    refuse_if_held(request.folder.storage)
    remaining = request.remaining(request.folder)
    cluster: AbstractContextManager[dict[str, float]] = ray_cluster(options.address) if remaining else nullcontext({})
    if remaining:
        output.print("starting Ray ...", style="dim")
    with cluster as available:
        signal.signal(signal.SIGTERM, _as_interrupt)  # Ray has put its own handler there, which ends the process at once
        if remaining and not options.address:
            check_resources(request.study.resources, available)
        ended = _run_under_lease(request, command, output, on_cluster=bool(options.address))
    if ended.outcome in ("interrupted", "taken over"):
        _say_interrupted(ended.outcome, command, output)
        return INTERRUPTED
    if ended.outcome == "storage gone":
        output.print("[bold red]Stopped:[/] the storage cannot be used. Every finished round is kept; when it is back, go on with")
        output.print(f"  {escape(_shown(command))}", highlight=False, soft_wrap=True)
        return SOME_FAILED
    finished = request.folder.finished() & set(request.plan.specs)
    unfinished = set(request.selected) - finished
    reported = True
    if not options.no_report and finished:
        report = [sys.executable, "-m", "analysis.report", request.folder.storage.location]
        reported = subprocess.run(report, check=False).returncode == 0
    _say_end(request, finished, unfinished, ended.failed, output)
    return OK if reported and not unfinished else SOME_FAILED


@dataclass(frozen=True)
class Ended:
    """How the running of a launch came to its end."""

    outcome: str
    """``finished``, ``some failed``, ``interrupted``, ``taken over`` (by another launch), ``storage gone`` or ``crashed``."""
    failed: Mapping[str, str]
    """Errors by trajectory id."""


def _run_under_lease(request: Request, command: list[str], output: Console, *, on_cluster: bool) -> Ended:
    """Hold the study, write what it is and that this launch began, run what remains, and write how it ended."""
    name, resources = launch_name(), request.study.resources
    context = context_of(request.folder.storage.location, resources, name)
    with held(request.folder.storage, name) as lease:
        folder = StudyFolder.existing(context.study, context.patience_seconds)
        remaining = request.remaining(folder)
        record = circumstances(command) | {"begun": now(), "study": request.study.resolved(), "to_run": len(remaining)}
        record |= {"selected": request.part(), "estimate": request.estimate()}
        folder.check(request.study, request.corpus)  # again: another launch may have come in between
        if remaining and on_cluster:
            plugins = tuple(sorted({stated for spec in remaining for stated in spec.plugins}))
            preflight(replace(context, plugins=plugins), request.study, request.corpus.num_bytes, output)
        by_id = {spec.trajectory_id: spec for spec in remaining}
        tracking = open_trackers(request.study, by_id, folder, context, output)
        folder.save(request.study, request.plan, request.corpus)
        seconds = request.calibration.seconds(request.plan)
        progress = Progress(output, by_id, seconds or request.plan.costs, folder.rounds_done(by_id))
        outcome, began = "crashed", time.monotonic()
        try:
            folder.write_launch(name, record | {"outcome": "running"})
            storage_works = True
            if remaining:
                with progress, tracking:
                    storage_works = run(remaining, request.corpus, resources, context, progress, tracking)
            outcome = "storage gone" if not storage_works else "some failed" if progress.failed else "finished"
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not break the clean end
            outcome = "taken over" if lease.lost else "interrupted"
        finally:
            if outcome == "storage gone":
                folder = StudyFolder.existing(context.study, patience_seconds=0)  # the trials have waited long enough
            with suppress(StorageError) if outcome == "storage gone" else nullcontext():
                ended = {"ended": now(), "outcome": outcome, "failed": progress.failed}
                took = actual(resources, progress.computed_seconds, progress.cost_spent if seconds else None, time.monotonic() - began)
                folder.write_launch(name, record | ended | {"actual": took})
    return Ended(outcome, progress.failed)


def _say_interrupted(outcome: str, command: Sequence[str], output: Console) -> None:
    if outcome == "taken over":
        output.print("[yellow]Stopped:[/] another launch has taken this study over.")
        return
    output.print("[yellow]Interrupted.[/] Every finished round is kept; the same command goes on:")
    output.print(f"  {escape(_shown(command))}", highlight=False, soft_wrap=True)


def _shown(command: Sequence[str]) -> str:
    return shlex.join(["python", *command[1:]])


def _say_end(request: Request, finished: set[str], unfinished: set[str], errors: Mapping[str, str], output: Console) -> None:
    output.print(f"[bold]{len(finished):,} of {len(request.plan.specs):,} trajectories are finished[/]; results are in", highlight=False)
    output.print(f"  {escape(request.folder.storage.location)}", highlight=False, soft_wrap=True)
    for trajectory_id in sorted(unfinished & set(errors)):
        output.print(f"[red]failed[/] {trajectory_id}: {escape(errors[trajectory_id])}", highlight=False, soft_wrap=True)
    if unfinished - set(errors):
        output.print(f"[red]not finished[/], with no error reported: {', '.join(sorted(unfinished - set(errors)))}", highlight=False)
    left_out = request.plan.specs.keys() - finished - request.selected
    if left_out:
        output.print(f"{len(left_out):,} were left out by --only or --seeds: without that, the command runs them", highlight=False)
    if unfinished:
        output.print("Mend the cause and give the same command again: only what failed is run.", highlight=False)
    else:
        location = shlex.quote(request.folder.storage.location)
        output.print("Next: the report again, or more seeds, arms, rates or T (only the new is run):", highlight=False)
        output.print(f"  python -m analysis.report {escape(location)}", highlight=False, soft_wrap=True)
        output.print("  the same command with --set grid.seeds=20, say", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
