"""How far a study is, read from its folder alone: no launch is asked, so any machine that sees the storage can tell.

Everything comes from one listing of the ledgers (names, sizes, times) and a few small files: a request for each round would take minutes
on an object store, and a running study writes meanwhile. Whatever vanishes or is half written while it is read counts as not there yet.

Times are those of the storage: a round is as old as its file. What is *now* is the age of the lease's file while a launch renews it, so
that a reader's clock does not matter; rounds an hour are counted over the last hour of the launch. The time left is rounds left over
rounds an hour. That takes all rounds to be alike: the order of a launch is seed by seed, so they are on average, but not at the start, and
not at the end, when the last few trajectories leave cores idle. The launch's own display weighs by cost.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import yaml

from sweep.arm import Arm
from sweep.folder import LAUNCHES, PLAN_FILE, STUDY_FILE, StudyFolder
from sweep.lease import Holder, holder_of
from trainables.errors import RequestError
from trainables.ledger import SEALED
from trainables.node import LEASE_FILE, TRAJECTORIES
from trainables.spec import FULL_DATA
from trainables.storage import File, Storage

HOUR = 3600.0

FAILURE = "failure.json"

NOT_SHOWN = ("predictions", "report", "tensorboard", LAUNCHES)
"""Folders that tell nothing of a study's progress."""


@dataclass
class Progressed:
    """One planned trajectory, and what the listing says of it."""

    trajectory_id: str
    arm: Arm
    seed: int
    num_rounds: int
    """That it will have."""
    rounds: list[float] = field(default_factory=list)
    """When each finished round was written, oldest first."""
    attempts: dict[str, float] = field(default_factory=dict)
    """When each attempt began, by the name of its file."""
    sealed: bool = False
    failed_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Begun, and neither finished nor failed."""
        return bool(self.attempts) and not self.sealed and self.failed_at is None

    @property
    def last_sign(self) -> float:
        """When it last wrote something."""
        return max([*self.rounds[-1:], *self.attempts.values()], default=0.0)

    @property
    def seconds_per_round(self) -> float | None:
        """Of the rounds since the last attempt began."""
        began = max(self.attempts.values(), default=0.0)
        own = [when for when in self.rounds if when >= began]
        return (own[-1] - began) / len(own) if own else None


@dataclass(frozen=True)
class Snapshot:
    """A study's folder at one moment."""

    study: str
    location: str
    holder: Holder | None
    last_launch: Mapping[str, Any] | None
    """Record of the newest launch: ``name``, ``begun``, ``outcome``."""
    trajectories: Mapping[str, Progressed]
    running: frozenset[str]
    """Ids of those that the launch which holds the study has begun and not ended."""
    failures: tuple[Mapping[str, Any], ...]
    """Records of those that failed, the newest first, with ``trajectory_id``."""
    now: float
    """Seconds since 1970, by the storage's clock."""

    @property
    def is_running(self) -> bool:
        """Whether a launch that is alive holds the study."""
        return self.holder is not None and not self.holder.is_dead

    @cached_property
    def counts(self) -> dict[str, int]:
        """Trajectories: planned, done, running, failed and waiting."""
        everyone = self.trajectories.values()
        done = sum(one.sealed for one in everyone)
        failed = sum(one.failed_at is not None and not one.sealed for one in everyone)
        waiting = len(self.trajectories) - done - failed - len(self.running)
        return {"planned": len(self.trajectories), "done": done, "running": len(self.running), "failed": failed, "waiting": waiting}

    @cached_property
    def rounds(self) -> tuple[int, int]:
        """Finished rounds, and all."""
        everyone = self.trajectories.values()
        return sum(min(len(one.rounds), one.num_rounds) for one in everyone), sum(one.num_rounds for one in everyone)

    @cached_property
    def rounds_per_hour(self) -> float | None:
        """Of the newest launch, over its last hour; None where no round was finished in that."""
        if self.last_launch is None:
            return None
        began = datetime.fromisoformat(self.last_launch["begun"]).timestamp()
        times = [when for one in self.trajectories.values() for when in one.rounds if when >= began]
        if not times:
            return None
        end = self.now if self.is_running else max(times)
        start = max(began, end - HOUR)
        return sum(when >= start for when in times) / max(end - start, 1.0) * HOUR

    @property
    def seconds_left(self) -> float | None:
        """Until a running launch is done, if rounds go on as in its last hour and nothing else fails."""
        failed = sum(one.num_rounds - len(one.rounds) for one in self.trajectories.values() if one.failed_at is not None and not one.sealed)
        left = self.rounds[1] - self.rounds[0] - failed
        return left / self.rounds_per_hour * HOUR if self.is_running and self.rounds_per_hour else None

    def slowest(self, most: int) -> list[Progressed]:
        """Of those that run, the ones that have been silent for the longest."""
        return sorted((self.trajectories[i] for i in self.running), key=lambda one: one.last_sign)[:most]


def take(folder: StudyFolder) -> Snapshot:
    """Read a study's folder.

    Raises:
        RequestError: it is not the folder of a study.
    """
    storage = folder.storage
    try:
        plan = folder.plan()
        study = yaml.safe_load(storage.read(STUDY_FILE))
        num_rounds = len(study["protocol"]["label_budgets"])
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, yaml.YAMLError) as error:
        raise RequestError(f"{storage.location} is not the folder of a study: it has no {PLAN_FILE} and {STUDY_FILE}") from error
    trajectories = {
        cell["trajectory_id"]: Progressed(
            cell["trajectory_id"], Arm.of_cell(cell), cell["seed"], 1 if cell["acquisition"] == FULL_DATA else num_rounds
        )
        for cell in reversed(plan["cells"])
        if cell["trajectory_id"]
    }
    files = storage.files(without=NOT_SHOWN)
    _fill(trajectories, files)
    holder, launch = holder_of(storage), _last_launch(storage)
    alive = holder.launch if holder and not holder.is_dead else None
    return Snapshot(
        study=plan["study"],
        location=storage.location,
        holder=holder,
        last_launch=launch,
        trajectories=trajectories,
        running=frozenset(_begun_by(alive, folder, trajectories.values())) if alive else frozenset(),
        failures=tuple(_failures(folder, trajectories.values())),
        now=max((file.modified for file in files if file.name == LEASE_FILE), default=0.0),
    )


def _fill(trajectories: Mapping[str, Progressed], files: Iterable[File]) -> None:
    """Put what was listed to the trajectories it belongs to; what no cell names any more is left out."""
    for file in files:
        trajectory_id, _, name = file.name.removeprefix(f"{TRAJECTORIES}/").partition("/")
        one = trajectories.get(trajectory_id)
        if one is None or name.rpartition("/")[2].startswith("."):
            continue
        if name.startswith("rounds/") and name.endswith(".json"):
            one.rounds.append(file.modified)
        elif name.startswith("attempts/"):
            one.attempts[name] = file.modified
        elif name == SEALED:
            one.sealed = True
        elif name == FAILURE:
            one.failed_at = file.modified
    for one in trajectories.values():
        one.rounds.sort()


def _last_launch(storage: Storage) -> dict[str, Any] | None:
    names = storage.names(LAUNCHES)
    record = _json(storage, f"{LAUNCHES}/{names[-1]}") if names else None
    return {"name": names[-1].removesuffix(".json"), "begun": record["begun"], "outcome": record["outcome"]} if record else None


def _begun_by(launch: str, folder: StudyFolder, trajectories: Iterable[Progressed]) -> Iterator[str]:
    """Ids of the open trajectories whose last attempt is the launch's."""
    begun = [one for one in trajectories if one.is_open]
    with ThreadPoolExecutor(16) as pool:
        records = pool.map(lambda one: _json(folder.trajectory(one.trajectory_id), max(one.attempts)), begun)
        yield from (one.trajectory_id for one, record in zip(begun, records, strict=True) if record and record["launch"] == launch)


def _failures(folder: StudyFolder, trajectories: Iterable[Progressed]) -> Iterator[dict[str, Any]]:
    failed = sorted((one for one in trajectories if one.failed_at is not None and not one.sealed), key=lambda one: -(one.failed_at or 0))
    with ThreadPoolExecutor(16) as pool:
        records = pool.map(lambda one: _json(folder.trajectory(one.trajectory_id), FAILURE), failed)
        yield from ({"trajectory_id": one.trajectory_id} | record for one, record in zip(failed, records, strict=True) if record)


def _json(storage: Storage, name: str) -> dict[str, Any] | None:
    """A small file's content; None if it is gone meanwhile."""
    try:
        content = json.loads(storage.read(name))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def disk(folder: StudyFolder) -> dict[str, Any]:
    """What takes space in a study's folder.

    Returns:
        ``kinds``: files and bytes by kind; ``largest``: ids and bytes of the largest ledgers; ``removable``: what can be removed by hand,
        with its paths, its bytes, and what would be lost.
    """
    planned = {cell["trajectory_id"] for cell in folder.plan()["cells"]}
    kinds: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    ledgers: dict[str, int] = defaultdict(int)
    set_aside: dict[str, int] = {}
    for file in folder.storage.files():
        top, _, rest = file.name.partition("/")
        kind = _kind(top, rest)
        kinds[kind][0] += 1
        kinds[kind][1] += file.num_bytes
        if top == TRAJECTORIES:
            ledgers[rest.partition("/")[0]] += file.num_bytes
        if kind == "set aside":
            set_aside[file.name] = file.num_bytes
    strangers = {f"{TRAJECTORIES}/{i}": size for i, size in ledgers.items() if i not in planned}
    removable = [
        ("trajectories that no cell names any more (an edited plug-in's)", strangers, "their rounds"),
        ("rounds that were set aside because they did not chain", set_aside, "nothing that is used"),
        (
            "test log-probabilities",
            {f"{TRAJECTORIES}/*/predictions": kinds["predictions"][1]} if kinds["predictions"][1] else {},
            "other metrics cannot be computed afterwards; do it when the study is finished: an unfinished trajectory needs its own",
        ),
    ]
    return {
        "kinds": {kind: {"files": files, "bytes": size} for kind, (files, size) in sorted(kinds.items(), key=lambda item: -item[1][1])},
        "largest": dict(sorted(ledgers.items(), key=lambda item: -item[1])[:3]),
        "removable": [
            {"what": what, "paths": sorted(sizes), "bytes": sum(sizes.values()), "lost": lost} for what, sizes, lost in removable if sizes
        ],
    }


def _kind(top: str, rest: str) -> str:
    """What a file is there for."""
    if top != TRAJECTORIES:
        return top if rest else "study"
    name = rest.partition("/")[2]
    if ".unchained-" in name:
        return "set aside"
    return "sealed tables" if name == SEALED else name.partition("/")[0] if "/" in name else "other ledger files"
