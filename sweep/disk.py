"""What takes space in a study's folder, and what could be removed by hand: with what would be lost, and how. Nothing is removed here."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sweep.arm import Arm
from sweep.folder import StudyFolder
from trainables.ledger import SEALED
from trainables.node import TRAJECTORIES
from trainables.storage import File

LARGEST = 5
"""Trajectories that are named as the largest."""

UNFINISHED_WRITES, SET_ASIDE = "unfinished writes", "rounds set aside"


def disk(folder: StudyFolder) -> dict[str, Any]:
    """What takes space.

    Returns:
        ``kinds``: files and bytes by kind, the largest first; ``largest``: the largest trajectories by id; ``removable``: what
        could be removed, each with ``what``, ``files``, ``bytes``, ``paths``, what would be ``lost``, and the ``commands`` (on an object
        store, the places).
    """
    files = folder.storage.files()
    cells = folder.plan()["cells"]  # after the listing: whatever is in it has its cell there
    names = {cell["trajectory_id"]: f"{Arm.of_cell(cell)}, seed {cell['seed']}" for cell in reversed(cells)}
    kinds: defaultdict[str, list[File]] = defaultdict(list)
    sizes: defaultdict[str, int] = defaultdict(int)
    for file in files:
        kinds[_kind(file.name)].append(file)
        if file.name.startswith(f"{TRAJECTORIES}/"):
            sizes[file.name.split("/")[1]] += file.num_bytes
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:LARGEST]
    by_size = sorted(kinds.items(), key=lambda item: -_bytes(item[1]))
    return {
        "location": folder.storage.location,
        "kinds": {kind: {"files": len(found), "bytes": _bytes(found)} for kind, found in by_size},
        "largest": {i: {"bytes": num_bytes, "what": names.get(i, "no cell's")} for i, num_bytes in largest},
        "removable": _removable(folder, kinds, [i for i in sizes if i not in names]),
    }


def _kind(name: str) -> str:
    """What a file is there for."""
    top, _, rest = name.partition("/")
    last = name.rpartition("/")[2]
    if last.startswith("."):
        return UNFINISHED_WRITES
    if top != TRAJECTORIES:
        return top if rest and top != "launches" else "study"
    kind = rest.partition("/")[2]
    if ".unchained-" in last:
        return SET_ASIDE
    if kind.startswith(("rounds/", "predictions/")):
        return kind.partition("/")[0]
    return "sealed tables" if kind == SEALED else "specs, attempts, failures"


def _bytes(files: Iterable[File]) -> int:
    return sum(file.num_bytes for file in files)


def _removable(folder: StudyFolder, kinds: Mapping[str, list[File]], strangers: list[str]) -> list[dict[str, Any]]:
    """What could be removed by hand, as far as there is any of it."""
    sealed = {file.name.rpartition("/")[0] for file in kinds.get("sealed tables", [])}
    predictions = [file for file in kinds.get("predictions", []) if file.name.rpartition("/predictions/")[0] in sealed]
    unplanned = [
        file for found in kinds.values() for file in found if file.name.startswith(tuple(f"{TRAJECTORIES}/{i}/" for i in strangers))
    ]
    each_sealed = f'for table in {_quoted(folder)}/{TRAJECTORIES}/*/{SEALED}; do rm -rf "${{table%/*}}/predictions"; done'
    found = [
        _item(folder, "trajectories that no cell of plan.json names (an edited plug-in's, say)", "their rounds", unplanned, 2),
        _item(folder, "predictions of finished trajectories", "no other metric can be computed of them", predictions, 3, each_sealed),
        _item(
            folder, "rounds set aside because they did not chain", "nothing that is used", kinds.get(SET_ASIDE, []), 4,
            f"find {_quoted(folder)}/{TRAJECTORIES} -name '*.unchained-*' -delete",
        ),
        _item(
            folder, "unfinished writes of processes that died", "nothing, while no launch is running", kinds.get(UNFINISHED_WRITES, []), 4,
            f"find {_quoted(folder)} -type f -name '.*' -delete",
        ),
        _item(folder, "TensorBoard's curves", "these curves; the ledgers hold every number in them", kinds.get("tensorboard", []), 1),
        _item(folder, "the report", "nothing: python -m analysis.report writes it again", kinds.get("report", []), 1),
    ]  # fmt: skip
    return [item for item in found if item["files"]]


def _item(folder: StudyFolder, what: str, lost: str, files: list[File], depth: int, command: str | None = None) -> dict[str, Any]:
    """One thing that could be removed; its paths are cut off after so many parts."""
    paths = sorted({"/".join(file.name.split("/")[:depth]) for file in files})
    if "://" in folder.storage.location:
        commands = [folder.storage.folder(path).location.partition("?")[0] for path in paths]
    else:
        commands = [command] if command else [f"rm -r {_quoted(folder)}/{shlex.quote(path)}" for path in paths]
    return {"what": what, "lost": lost, "files": len(files), "bytes": _bytes(files), "paths": paths, "commands": commands}


def _quoted(folder: StudyFolder) -> str:
    return shlex.quote(folder.storage.location)
