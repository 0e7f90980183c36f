"""The command ``python -m sweep.status STUDY_DIR``: how far a study is, from any machine that sees its storage.

Needs neither Ray nor a running launch, and changes nothing. ``--watch`` shows it again and again until no launch runs the study any more.
Exit codes: 0 shown; 2 not a study, it cannot be read, or the options do not go together; 130 watching was ended with Ctrl-C.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from sweep.disk import disk
from sweep.folder import StudyFolder
from sweep.lease import holder_of
from sweep.listing import failures, take
from sweep.status_view import as_dict, print_disk, rendered
from trainables.errors import RequestError
from trainables.patience import open_patiently

PATIENCE_SECONDS = 10.0
"""For which trouble of the storage is waited out: whoever watches a study through a night should not lose it to a moment's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _check(options)
        return _show(options, StudyFolder(open_patiently(options.study_dir, PATIENCE_SECONDS, must_exist=True)), Console())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, say) has seen enough
        return 0
    except KeyboardInterrupt:
        return 130
    except (RequestError, OSError, ValueError) as error:
        reason = error if isinstance(error, RequestError) else f"{options.study_dir}: {error}; give STORAGE/STUDY, as a path or URI"
        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), str(reason)), soft_wrap=True)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sweep.status", description="How far a study is.")
    parser.add_argument("study_dir", metavar="STUDY_DIR", help="a study's folder (STORAGE/STUDY), a path or URI")
    parser.add_argument("--watch", nargs="?", type=float, const=5.0, metavar="SECONDS", help="show it again and again (default: every 5 s)")
    parser.add_argument("--disk", action="store_true", help="what takes space, and what could be removed by hand")
    parser.add_argument("--json", action="store_true", help="as JSON, all of it")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be shown as asked."""
    if options.watch is None:
        return
    if options.disk or options.json:
        raise RequestError("--watch shows how far a study is, again and again: give it without --disk and --json")
    if not 0 < options.watch < math.inf:
        raise RequestError(f"--watch {options.watch:g}: must be a number of seconds above 0")


def _show(options: argparse.Namespace, folder: StudyFolder, console: Console) -> int:
    if options.watch is not None:
        _watch(folder, options.watch, console)
        return 0
    if options.disk:
        found = disk(folder)
        if not options.json:
            print_disk(found, console, is_held=_is_held(folder))
    else:
        snapshot = take(folder)
        errors = failures(folder, snapshot)
        found = as_dict(snapshot, errors)
        if not options.json:
            _print(rendered(snapshot, errors), console)
    if options.json:
        print(json.dumps(found, indent=1))
    return 0


def _print(lines: Sequence[RenderableType], console: Console) -> None:
    for line in lines:
        console.print(line, soft_wrap=isinstance(line, Text))


def _is_held(folder: StudyFolder) -> bool:
    holder = holder_of(folder.storage)
    return holder is not None and not holder.is_dead


def _watch(folder: StudyFolder, seconds: float, console: Console) -> None:
    """Show the study anew until no launch runs it; in a log file, one below the other."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            snapshot = take(folder)
            lines = rendered(snapshot, failures(folder, snapshot))
            if not snapshot.is_running:
                break
            if console.is_terminal:
                live.update(Group(*lines), refresh=True)
            else:
                _print([*lines, Text("")], console)
            time.sleep(seconds)
    _print(lines, console)


if __name__ == "__main__":
    sys.exit(main())
