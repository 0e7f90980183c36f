"""The command ``python -m sweep.status STUDY_DIR``: how far a study is, from any machine that sees its storage.

Needs neither Ray nor a running launch, and changes nothing. Exit codes: 0 shown; 2 not a study, or it cannot be read. ``--watch`` ends by
itself when no launch runs the study any more, or with Ctrl-C.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweep.folder import StudyFolder
from sweep.progress import duration
from sweep.snapshot import Progressed, Snapshot, disk, take
from trainables.errors import RequestError
from trainables.node import TRAJECTORIES
from trainables.storage import open_storage

SHOWN = 3
"""Lines of a list, at most: the whole is in ``--json``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.watch is not None and not options.watch > 0:
        parser.error(f"--watch {options.watch:g}: must be above 0 seconds")
    console = Console()
    try:
        folder = StudyFolder(open_storage(options.study_dir, must_exist=True))
        if options.disk:
            _show_disk(disk(folder), folder.storage.location, console, as_json=options.json)
        elif options.json:
            print(json.dumps(as_dict(take(folder)), indent=1))
        elif options.watch is None:
            console.print(rendered(take(folder)))
        else:
            _watch(folder, options.watch, console)
    except (RequestError, OSError, ValueError) as error:
        reason = error if isinstance(error, RequestError) else f"{options.study_dir}: {error}; give STORAGE/STUDY, as a path or URI"
        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), str(reason)), soft_wrap=True)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sweep.status", description="How far a study is.")
    parser.add_argument("study_dir", metavar="STUDY_DIR", help="a study's folder (STORAGE/STUDY), a path or URI")
    parser.add_argument("--watch", nargs="?", type=float, const=5.0, metavar="SECONDS", help="show it again and again (default: every 5 s)")
    parser.add_argument("--disk", action="store_true", help="what takes space, and what could be removed by hand")
    parser.add_argument("--json", action="store_true", help="as JSON, all of it")
    return parser


def _watch(folder: StudyFolder, seconds: float, console: Console) -> None:
    """Show the study anew until no launch runs it."""
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                snapshot = take(folder)
                live.update(rendered(snapshot), refresh=True)
                if not snapshot.is_running:
                    return
                time.sleep(seconds)
    except KeyboardInterrupt:
        return


def as_dict(snapshot: Snapshot) -> dict[str, Any]:
    """All of it as plain values; times are seconds."""
    return {
        "study": snapshot.study,
        "location": snapshot.location,
        "launch": snapshot.holder and snapshot.holder._asdict(),
        "last_launch": snapshot.last_launch,
        "trajectories": snapshot.counts,
        "rounds": snapshot.rounds[0],
        "all_rounds": snapshot.rounds[1],
        "rounds_per_hour": snapshot.rounds_per_hour,
        "seconds_left": snapshot.seconds_left,
        "running": [_one_as_dict(one, snapshot.now) for one in snapshot.slowest(len(snapshot.running))],
        "failures": list(snapshot.failures),
    }


def _one_as_dict(one: Progressed, now: float) -> dict[str, Any]:
    found = asdict(one)
    shown = {name: found[name] for name in ("trajectory_id", "seed", "num_rounds")}
    times = {"silent_seconds": max(0.0, now - one.last_sign), "seconds_per_round": one.seconds_per_round}
    return shown | {"arm": str(one.arm), "rounds": len(one.rounds)} | times


def rendered(snapshot: Snapshot) -> Group:
    """As a person reads it."""
    lines = [Text.assemble((snapshot.study, "bold"), f" in {snapshot.location}"), Text(_who(snapshot)), Text(""), _counts(snapshot)]
    slowest = [_silent(one, snapshot.now) for one in snapshot.slowest(SHOWN)]
    if slowest:
        lines += [Text(""), Text("longest since the last round", style="bold"), *slowest]
    if snapshot.failures:
        lines += [Text(""), Text("last errors", style="bold red"), *(_error(failure, snapshot) for failure in snapshot.failures[:SHOWN])]
        where = f"{snapshot.location}/{TRAJECTORIES}/{snapshot.failures[0]['trajectory_id']}/failure.json"
        lines += [
            Text(f"The whole traceback: {where}"),
            Text("Mend the cause and launch again: only what is not finished is run."),
        ]
    return Group(*lines)


def _who(snapshot: Snapshot) -> str:
    holder, last = snapshot.holder, snapshot.last_launch
    if holder and snapshot.is_running:
        seen = f"seen {holder.silent_seconds:.0f} s ago"
        return f"launch {holder.launch} is running: {holder.user} on {holder.host}, process {holder.pid}, {seen}"
    if last is None:
        return "no launch has begun"
    outcome = "ended without a word" if last["outcome"] == "running" else last["outcome"]
    return f"no launch is running; the last, {last['name']}: {outcome}"


def _counts(snapshot: Snapshot) -> Text:
    counts, (done, every) = snapshot.counts, snapshot.rounds
    states = " · ".join(f"{counts[name]:,} {name}" for name in ("running", "waiting", "failed") if counts[name])
    speed = "" if snapshot.rounds_per_hour is None else f" · {snapshot.rounds_per_hour:,.0f} rounds an hour"
    left = "" if snapshot.seconds_left is None else f" · about {duration(snapshot.seconds_left)} left"
    text = Text(f"{counts['done']:,} of {counts['planned']:,} trajectories done{' · ' if states else ''}{states}\n")
    return text.append(f"{done:,} of {every:,} rounds{speed}{left}")


def _silent(one: Progressed, now: float) -> Text:
    usual = "" if one.seconds_per_round is None else f", {duration(one.seconds_per_round)} a round before"
    progress = f"round {len(one.rounds) + 1} of {one.num_rounds} for {duration(max(0.0, now - one.last_sign))}{usual}"
    return Text(f"  {one.trajectory_id}  {one.arm}, seed {one.seed}\n    {progress}")


def _error(failure: Mapping[str, Any], snapshot: Snapshot) -> Text:
    one = snapshot.trajectories[failure["trajectory_id"]]
    head = f"  {one.trajectory_id}  {one.arm}, seed {one.seed}, round {failure['round']}, {failure['when'][:16]}\n"
    return Text(head).append(f"    {failure['error'].splitlines()[0]}")


def _show_disk(found: Mapping[str, Any], location: str, console: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for name, justify in (("kind", "left"), ("files", "right"), ("size", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # a literal in rich's annotation
    for kind, facts in found["kinds"].items():
        table.add_row(kind, f"{facts['files']:,}", size(facts["bytes"]))
    total = sum(facts["bytes"] for facts in found["kinds"].values())
    console.print(table, Text(f"{size(total)} in {location}", style="bold"))
    largest = ", ".join(f"{trajectory_id} {size(number)}" for trajectory_id, number in found["largest"].items())
    if largest:
        console.print(Text(f"largest ledgers: {largest}"))
    for item in found["removable"]:
        console.print(Text(f"\n{size(item['bytes'])}: {item['what']}. Lost by removing them: {item['lost']}."))
        for path in item["paths"][:SHOWN]:
            console.print(Text(f"  {_removal(location, path)}"), soft_wrap=True)
        if len(item["paths"]) > SHOWN:
            console.print(Text(f"  ... and {len(item['paths']) - SHOWN:,} more (--json)"))


def _removal(location: str, path: str) -> str:
    """The command that removes something; on an object store, its place."""
    return f"{location}/{path}" if "://" in location else f"rm -r {shlex.quote(location)}/{path}"


def size(num_bytes: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


if __name__ == "__main__":
    sys.exit(main())
