"""A study's folder as a listing shows it: no launch is asked, so any machine that sees the storage can tell how far the study is.

Everything comes from one listing (names, sizes, times) and a few small files: a request for each round would take minutes on an object
store. A running study writes meanwhile: what vanishes or is half written while it is read counts as not there yet.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import yaml

from sweep.arm import Arm
from sweep.folder import EVENT_FILES, LAUNCHES, PLAN_FILE, STUDY_FILE, StudyFolder
from sweep.lease import holder_of
from sweep.pace import Traced
from sweep.snapshot import LaunchSeen, Snapshot
from trainables.errors import RequestError
from trainables.ledger import SEALED
from trainables.node import TRAJECTORIES
from trainables.spec import FULL_DATA
from trainables.storage import File, Storage

FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten thousand seeds take seconds with the other."""

FAILURE = "failure.json"

NOT_SHOWN = ("predictions", "report", EVENT_FILES, "wandb")
"""Folders that tell nothing of a study's progress."""

MOST_ERRORS = 20
"""Failure records that are read: the newest."""


def take(folder: StudyFolder) -> Snapshot:
    """Read a study's folder.

    Raises:
        RequestError: it is not the folder of a study, or its plan or study file is damaged.
    """
    storage = folder.storage
    files = storage.files(without=NOT_SHOWN)
    plan, study = _plan_and_study(folder)  # after the listing: every trajectory in it has its cell there
    try:
        trajectories, asked = _planned(plan, study), frozenset(_asked(plan, study))
    except (KeyError, TypeError) as error:
        raise RequestError(
            f"{storage.location}: {PLAN_FILE} or {STUDY_FILE} is damaged ({error!r}); restore it, or launch again"
        ) from error
    _fill(trajectories, files)
    holder = holder_of(storage)
    alive = holder.launch if holder and not holder.is_dead else None
    launch = _launch(storage, files, alive)
    return Snapshot(
        study=plan["study"],
        location=storage.location,
        holder=holder,
        launch=launch,
        trajectories=trajectories,
        asked=asked & launch.selected if alive and launch and launch.selected is not None else asked,
        running=frozenset(_begun_by(alive, folder, trajectories.values())) if alive else frozenset(),
        now=max((file.modified for file in files), default=0.0) if alive else time.time(),
    )


def _plan_and_study(folder: StudyFolder) -> tuple[dict[str, Any], Any]:
    """The contents of ``plan.json``, and of ``study.yaml`` as the latest launch wrote it."""
    place = folder.storage.location
    try:
        plan, study = folder.plan(), yaml.load(folder.storage.read(STUDY_FILE), FAST_LOADER)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RequestError(f"{place} is not the folder of a study: it has no {PLAN_FILE} and {STUDY_FILE}; give STORAGE/STUDY") from error
    except yaml.YAMLError as error:
        raise RequestError(f"{place}/{STUDY_FILE} is damaged ({error}); restore it, or launch again") from error
    return plan, study


def _planned(plan: Mapping[str, Any], study: Any) -> dict[str, Traced]:
    """All trajectories that were ever asked for; one that several cells share is named after the first that is its very own."""
    budgets, all_labels = tuple(study["protocol"]["label_budgets"]), (plan["corpus"]["train_reviews"],)
    cells: dict[str, Mapping[str, Any]] = {}
    for cell in sorted(plan["cells"], key=lambda cell: cell["note"] is not None):
        if cell["trajectory_id"]:
            cells.setdefault(cell["trajectory_id"], cell)
    return {
        trajectory_id: Traced(trajectory_id, Arm.of_cell(cell), cell["seed"], all_labels if cell["acquisition"] == FULL_DATA else budgets)
        for trajectory_id, cell in cells.items()
    }


def _asked(plan: Mapping[str, Any], study: Any) -> Iterator[str]:
    """Ids of the trajectories of the study as it is now: an earlier launch may have asked for more seeds, arms, rates or T."""
    grid = study["grid"]
    seeds, rates = set(grid["seeds"]), set(grid["dropout_rate"])
    points = {(name, passes) for name in grid["acquisition"] for passes in grid["mc_passes"]}
    points |= {(FULL_DATA, None)} if study["baseline"]["full_data"] else set()
    for cell in plan["cells"]:
        inside = cell["seed"] in seeds and cell["dropout_rate"] in rates and (cell["acquisition"], cell["mc_passes"]) in points
        if cell["trajectory_id"] and inside:
            yield cell["trajectory_id"]


def _fill(trajectories: Mapping[str, Traced], files: Iterable[File]) -> None:
    """Put what was listed to the trajectories it belongs to; what no cell names is left out."""
    for file in files:
        top, _, rest = file.name.partition("/")
        trajectory_id, _, name = rest.partition("/")
        one = trajectories.get(trajectory_id) if top == TRAJECTORIES else None
        if one is None:
            continue
        folder, _, last = name.rpartition("/")
        number = last.removesuffix(".json")
        if folder == "rounds" and number.isdecimal() and last != number:
            one.rounds[int(number)] = file.modified
        elif folder == "attempts" and number.isdecimal():
            one.attempts[name] = file.modified
        elif name == SEALED:
            one.sealed = True
        elif name == FAILURE:
            one.failed_at = file.modified


def _launch(storage: Storage, files: Iterable[File], alive: str | None) -> LaunchSeen | None:
    """The launch that runs the study if it has a record by now, else the newest."""
    times = {file.name: file.modified for file in files if file.name.startswith(f"{LAUNCHES}/") and file.name.endswith(".json")}
    own = f"{LAUNCHES}/{alive}.json"
    name = own if own in times else max(times, default=None)
    record = name and _json(storage, name, "begun", "outcome")
    if not name or not record:
        return None
    # the record is written again when the launch ends; how long that is after its beginning is known by one clock, the launch's
    lasted = (_seconds(record["ended"]) - _seconds(record["begun"])) if "ended" in record else 0.0
    selected = record.get("selected")
    return LaunchSeen(
        name=name.removeprefix(f"{LAUNCHES}/").removesuffix(".json"),
        outcome=record["outcome"],
        began=times[name] - lasted,
        selected=None if selected is None else frozenset(selected),
    )


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()


def _begun_by(launch: str, folder: StudyFolder, trajectories: Iterable[Traced]) -> Iterator[str]:
    """Ids of the open trajectories whose last attempt is the launch's."""
    begun = [one for one in trajectories if one.is_open]
    with ThreadPoolExecutor(16) as pool:
        records = pool.map(lambda one: _json(folder.trajectory(one.trajectory_id), max(one.attempts), "launch"), begun)
        yield from (one.trajectory_id for one, record in zip(begun, records, strict=True) if record and record["launch"] == launch)


def failures(folder: StudyFolder, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Records of the newest `MOST_ERRORS` that failed, with ``trajectory_id``; without those that are gone or half written."""
    newest = snapshot.failed[:MOST_ERRORS]
    with ThreadPoolExecutor(16) as pool:
        records = pool.map(lambda i: _json(folder.trajectory(i), FAILURE, "error", "round", "when"), newest)
        return [{"trajectory_id": i} | record for i, record in zip(newest, records, strict=True) if record]


def _json(storage: Storage, name: str, *keys: str) -> dict[str, Any] | None:
    """A small file's content; None if it is gone meanwhile, or is not what it should be."""
    try:
        content = json.loads(storage.read(name))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) and set(keys) <= set(content) else None
