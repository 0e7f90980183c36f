"""What a study's state looks like to a person, in 80 columns, and to a program."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweep.pace import Traced
from sweep.progress import duration
from sweep.snapshot import Snapshot
from trainables.node import TRAJECTORIES

SHOWN = 3
"""Lines of a list, at most: the whole is in ``--json``."""

SLOW = 1.5
"""Times as long as other seeds of its arm from which a trajectory is called slow."""

LOST, LOST_SECONDS = 3.0, 60.0
"""Times its usual length, and seconds, for which a round may give no sign before its trajectory is thought to be lost."""


def as_dict(snapshot: Snapshot, errors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All of it as plain values; times are seconds.

    Args:
        snapshot: of the study.
        errors: records of those that failed last.
    """
    launch = snapshot.launch
    return {
        "study": snapshot.study,
        "location": snapshot.location,
        "launch": snapshot.holder and snapshot.holder._asdict(),
        "last_launch": launch and {"name": launch.name, "outcome": launch.outcome, "began": launch.began},
        "trajectories": snapshot.counts,
        "rounds": snapshot.rounds[0],
        "all_rounds": snapshot.rounds[1],
        "rounds_per_hour": snapshot.rounds_per_hour,
        "seconds_left": snapshot.seconds_left,
        "running": [_one_as_dict(one, snapshot) for one in _longest_silent(snapshot)],
        "failed": snapshot.failed,
        "failures": list(errors),
    }


def _one_as_dict(one: Traced, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "trajectory_id": one.trajectory_id,
        "arm": str(one.arm),
        "seed": one.seed,
        "rounds": len(one.rounds),
        "num_rounds": len(one.budgets),
        "num_labelled": one.budgets[_current(one)],
        "silent_seconds": _silence(one, snapshot),
        "usual_seconds": snapshot.pace.usual(one, _current(one)),
        "seconds_per_round": _seconds_per_round(one),
        "times_the_others": snapshot.pace.times_the_others(one),
    }


def _current(one: Traced) -> int:
    """The round that is being computed; of a finished trajectory the last."""
    return min([*one.left, len(one.budgets) - 1])


def _silence(one: Traced, snapshot: Snapshot) -> float:
    return max(0.0, snapshot.now - one.last_sign)


def _seconds_per_round(one: Traced) -> float | None:
    return sum(one.seconds.values()) / len(one.seconds) if one.seconds else None


def _longest_silent(snapshot: Snapshot) -> list[Traced]:
    """Those that run, by the length of their present round in units of what is usual for it: the longest first."""
    return sorted(
        (snapshot.trajectories[i] for i in snapshot.running),
        key=lambda one: -_silence(one, snapshot) / (snapshot.pace.usual(one, _current(one)) or LOST_SECONDS),
    )


def rendered(snapshot: Snapshot, errors: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """As a person reads it, line by line; plain text is a line that may not be broken, such as a path."""
    lines: list[RenderableType] = [
        Text.assemble((snapshot.study, "bold"), f" in {snapshot.location}"),
        *_who(snapshot),
        Text(""),
        *_counts(snapshot),
    ]
    silent = [_silent(one, snapshot) for one in _longest_silent(snapshot)[:SHOWN]]
    if silent:
        lines += [Text(""), Text("running, the longest without a sign first", style="bold"), *silent]
    slow = _slow(snapshot)
    if slow:
        lines += [Text(""), Text("slower than other seeds of their arm", style="bold"), *slow]
    if errors:
        place = snapshot.location.partition("?")[0]  # without the options of a URI
        where = f"{place}/{TRAJECTORIES}/{errors[0]['trajectory_id']}/failure.json"
        lines += [Text(""), Text("last errors", style="bold red"), *(_error(failure, snapshot) for failure in errors[:SHOWN])]
        lines += [Text(f"The whole traceback: {where}")]
        lines += [Text("Mend the cause and launch again: only what is not finished is run.")]
    return lines


def _who(snapshot: Snapshot) -> list[Text]:
    holder, launch = snapshot.holder, snapshot.launch
    if holder and snapshot.is_running:
        lasted = f" for {duration(max(0.0, snapshot.now - launch.began))}" if launch and launch.name == holder.launch else ", and begins"
        seen = f"{holder.user} on {holder.host}, process {holder.pid}; last sign of life {duration(holder.silent_seconds)} ago"
        return [Text(f"launch {holder.launch} is running{lasted}"), Text(f"  {seen}")]
    if launch is None:
        return [Text("no launch has begun")]
    outcome = "ended without a word" if launch.outcome == "running" else launch.outcome
    lines = [Text(f"no launch is running; the last, {launch.name}: {outcome}")]
    if holder:
        lines.append(Text(f"  last sign of life {duration(holder.silent_seconds)} ago, from {holder.host}, process {holder.pid}"))
    return lines


def _counts(snapshot: Snapshot) -> list[Text]:
    counts, (done, every) = snapshot.counts, snapshot.rounds
    states = "".join(f" · {counts[name]:,} {name}" for name in ("running", "waiting", "failed") if counts[name])
    speed = "" if snapshot.rounds_per_hour is None else f" · {snapshot.rounds_per_hour:,.0f} rounds an hour"
    left = "" if snapshot.seconds_left is None else f" · about {duration(snapshot.seconds_left)} left"
    lines = [
        Text(f"{counts['done']:,} of {counts['planned']:,} trajectories done{states}"),
        Text(f"{done:,} of {every:,} rounds{speed}{left}"),
    ]
    if counts["left_out"]:
        by = "this launch does not run" if snapshot.is_running else "the latest launch's study does not ask for"
        lines.append(Text(f"{counts['left_out']:,} more are planned, which {by}"))
    return lines


def _silent(one: Traced, snapshot: Snapshot) -> RenderableType:
    silence, usual = _silence(one, snapshot), snapshot.pace.usual(one, _current(one))
    beside = "" if usual is None else f"; usual: {duration(usual)}"
    lost = " (lost?)" if usual is not None and silence > max(LOST * usual, LOST_SECONDS) else ""
    labels = f"{one.budgets[_current(one)]:,} labels"
    return _entry(one, f"round {_current(one) + 1} of {len(one.budgets)}, {labels}, for {duration(silence)}{beside}{lost}")


def _slow(snapshot: Snapshot) -> list[RenderableType]:
    """Of those that run, else of all, the slowest beside other seeds of their arm."""
    ids = snapshot.running if snapshot.is_running else snapshot.trajectories
    times = [(snapshot.pace.times_the_others(snapshot.trajectories[i]) or 0.0, i) for i in ids]
    found = [(ratio, snapshot.trajectories[i]) for ratio, i in sorted(times, reverse=True)[:SHOWN] if ratio >= SLOW]
    return [_entry(one, f"{ratio:.1f} times as long; {duration(_seconds_per_round(one) or 0.0)} a round") for ratio, one in found]


def _error(failure: Mapping[str, Any], snapshot: Snapshot) -> RenderableType:
    when = str(failure["when"])[:16].replace("T", " ")
    first = (str(failure["error"]).splitlines() or [""])[0]
    return _entry(snapshot.trajectories[failure["trajectory_id"]], f"round {failure['round']}, {when} UTC: {first}")


def _entry(one: Traced, text: str) -> RenderableType:
    """A trajectory, and below it what there is to say of it."""
    return Group(Text(f"  {one.trajectory_id}  {one.arm}, seed {one.seed}"), Padding(Text(text), (0, 0, 0, 4), expand=False))


def print_disk(found: Mapping[str, Any], console: Console, *, is_held: bool) -> None:
    """What takes space, and the commands that remove what can be spared: whole, to be copied."""
    table = Table(box=None, pad_edge=False)
    table.add_column("kind")
    table.add_column("files", justify="right")
    table.add_column("size", justify="right")
    for kind, facts in found["kinds"].items():
        table.add_row(kind, f"{facts['files']:,}", size(facts["bytes"]))
    total = sum(facts["bytes"] for facts in found["kinds"].values())
    console.print(table, Text(f"{size(total)} in {found['location']}", style="bold"))
    if found["largest"]:
        console.print(Text("\nlargest trajectories", style="bold"))
    for trajectory_id, facts in found["largest"].items():
        console.print(Text(f"  {trajectory_id}  {size(facts['bytes'])}  {facts['what']}"))
    if found["removable"]:
        console.print(Text("\nwhat could be removed by hand", style="bold"))
    if found["removable"] and is_held:
        console.print(Text("a launch is running: remove nothing before it has ended", style="yellow"))
    for item in found["removable"]:
        console.print(Text(f"\n{size(item['bytes'])}: {item['what']}\nlost by it: {item['lost']}"))
        for command in item["commands"][:SHOWN]:
            console.print(Text(f"  {command}"), soft_wrap=True)
        if len(item["commands"]) > SHOWN:
            console.print(Text(f"  ... and {len(item['commands']) - SHOWN:,} more (--json)"))


def size(num_bytes: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
