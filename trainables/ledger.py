"""The durable record of one trajectory: one file per finished round, sealed into one table at the end.

    trajectories/ID/
      spec.json               what is computed (canonical JSON)
      attempts/0001.json      one per execution: launch, first round, host, hardware, versions
      rounds/0007.json        one finished round: its row, what it acquired, the digest of the round before
      predictions/0007.npz    test log-probabilities (float32) where the MC prediction was measured
      trajectory.parquet      all rounds, written when the last one is there
      failure.json            why the last attempt failed; removed by a later success

Two tempting designs were left. Checkpoints of weights, optimiser and random state are large, are trusted blindly, and tie a
result to one library version; here the state of a trajectory is what it acquired, because every random stream is keyed by name.
One growing file per trajectory is torn by a crash in mid-write; here a round is one file, there whole or not at all, predictions
first and the JSON last: the JSON is the commit mark.

Two writers can meet (a worker that survived a cut link and its replacement). The first to commit a round wins. Each round carries
the SHA-256 of its science columns and of the round before. A round that does not chain to its predecessor is set aside under
another name and computed again; a file that cannot be read as what its name says is refused, never guessed at, never deleted.
"""

import hashlib
import io
import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainables.arrays import Floats32
from trainables.errors import LedgerError, SupersededError
from trainables.rounds import SCIENCE_COLUMNS, Round, Row, schema
from trainables.spec import TrajectorySpec
from trainables.storage import Storage

SEALED = "trajectory.parquet"


def now() -> str:
    """The time as the records write it: UTC, ISO 8601, whole milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Ledger:
    """Reads and writes one trajectory's folder."""

    def __init__(self, storage: Storage, spec: TrajectorySpec) -> None:
        """`storage` is the trajectory's own folder; nothing is touched yet."""
        self._storage = storage
        self._spec = spec
        self._id = spec.trajectory_id
        self._rounds: list[Round] = []
        self._digests = [self._id]

    @property
    def num_rounds(self) -> int:
        """Rounds that were read or committed so far."""
        return len(self._rounds)

    def read(self) -> list[Round]:
        """The finished rounds, in order, with their chain checked; rounds that do not chain are set aside.

        Raises:
            LedgerError: the folder belongs to another spec, or a file is truncated, foreign or altered.
        """
        self._check_spec()
        self._rounds, self._digests = [], [self._id]
        names = sorted((name for name in self._storage.names("rounds") if name.endswith(".json")), key=lambda name: (len(name), name))
        for position, name in enumerate(names):
            content = self._read_round(name)
            expected = f"{len(self._rounds):04}.json"
            if name != expected or content["previous"] != self._digests[-1]:
                self._set_aside(names[position:])
                break
            self._check_predictions(len(self._rounds), content["predictions"])
            self._rounds.append(Round(Row(**content["row"]), tuple(content["acquired"])))
            self._digests.append(content["digest"])
        return list(self._rounds)

    def _check_spec(self) -> None:
        ours = self._spec.canonical_json().encode()
        if not self._storage.create("spec.json", ours) and self._storage.read("spec.json") != ours:
            raise LedgerError(
                f"{self._storage.location}/spec.json is not the spec that the id {self._id} stands for; "
                "move the folder away to have the trajectory computed again"
            )

    def _read_round(self, name: str) -> dict[str, Any]:
        """A round's content, whole and unaltered."""
        try:
            content: dict[str, Any] = json.loads(self._storage.read(f"rounds/{name}"))
            row = Row(**content["row"])
            intact = content["digest"] == self._digest(row, content["acquired"], content["previous"])
            reason = "its content does not match its digest"
        except (ValueError, KeyError, TypeError) as error:
            intact, reason = False, f"it cannot be read ({error})"
        if not intact:
            raise LedgerError(
                f"{self._storage.location}/rounds/{name} is not a finished round: {reason}. "
                "Nothing was changed; move this file away to have the trajectory go on from the rounds before it"
            )
        return content

    def _digest(self, row: Row, acquired: Sequence[int], previous: str) -> str:
        science = {name: getattr(row, name) for name in SCIENCE_COLUMNS}
        content = [science, list(acquired), previous]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _set_aside(self, names: Sequence[str]) -> None:
        for name in names:
            taken = self._storage.names("rounds")
            suffix = next(i for i in range(1, len(taken) + 2) if f"{name}.unchained-{i}" not in taken)
            self._storage.rename(f"rounds/{name}", f"rounds/{name}.unchained-{suffix}")

    def begin_attempt(self, launch: str, circumstances: Mapping[str, object]) -> int:
        """Record that an execution begins after the rounds that were read; its number, which no other execution shares."""
        record = {"launch": launch, "first_round": self.num_rounds, "begun": now(), **circumstances}
        number = len(self._storage.names("attempts")) + 1
        while not self._storage.create(f"attempts/{number:04}.json", _json(record)):
            number += 1
        return number

    def append(self, finished: Round, attempt: int) -> None:
        """Commit the next round: there whole, or not at all.

        Raises:
            SupersededError: another writer committed a different result for this round; what it wrote stands.
        """
        number = len(self._rounds)
        predictions = self._write_predictions(number, finished.predictions)
        previous = self._digests[-1]
        digest = self._digest(finished.row, finished.acquired, previous)
        content = {
            "row": asdict(finished.row),
            "acquired": list(finished.acquired),
            "previous": previous,
            "predictions": predictions,
            "attempt": attempt,
            "digest": digest,
        }
        name = f"{number:04}.json"
        if not self._storage.create(f"rounds/{name}", _json(content)) and self._read_round(name)["digest"] != digest:
            raise SupersededError(f"{self._storage.location}/rounds/{name} was committed by another writer with a different result")
        self._rounds.append(finished)
        self._digests.append(digest)

    def _write_predictions(self, number: int, predictions: Mapping[str, Floats32]) -> str | None:
        """Write a round's predictions and return the SHA-256 of the arrays; a committed round's are never touched."""
        if not predictions:
            return None
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **dict(predictions))  # type: ignore[arg-type]  # the stub's keywords hide the arrays
        if not self._storage.exists(f"rounds/{number:04}.json"):
            self._storage.write(f"predictions/{number:04}.npz", buffer.getvalue())
        return _arrays_hash(predictions)

    def _check_predictions(self, number: int, expected: str | None) -> None:
        """Refuse a round whose predictions are not those that it was committed with."""
        if expected is None:
            return
        name = f"predictions/{number:04}.npz"
        try:
            with np.load(io.BytesIO(self._storage.read(name)), allow_pickle=False) as arrays:
                found = _arrays_hash({mode: arrays[mode] for mode in arrays.files})
        except (FileNotFoundError, EOFError, ValueError, BadZipFile) as error:
            found = str(error)
        if found != expected:
            raise LedgerError(
                f"{self._storage.location}/{name} is missing or is not what round {number} was committed with; move "
                f"rounds/{number:04}.json away to have it computed again"
            )

    def seal(self) -> None:
        """Write all rounds into one table, which marks the trajectory as finished."""
        rows = [asdict(r.row) | {"acquired": list(r.acquired)} for r in self._rounds]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema()), buffer)
        self._storage.write(SEALED, buffer.getvalue())
        self._storage.remove("failure.json")

    def record_failure(self, error: BaseException, circumstances: Mapping[str, object]) -> None:
        """Write down why the trajectory failed, for the report and for whoever mends it."""
        record = {
            "error": f"{type(error).__name__}: {error}",
            "traceback": "".join(traceback.format_exception(error)),
            "round": sum(name.endswith(".json") for name in self._storage.names("rounds")),
            "when": now(),
            **circumstances,
        }
        self._storage.write("failure.json", _json(record))


def _arrays_hash(arrays: Mapping[str, Floats32]) -> str:
    """SHA-256 of named arrays: of their content, not of a compressor's output."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        sha.update(f"{name} {arrays[name].shape}\n".encode() + np.ascontiguousarray(arrays[name], dtype="<f4").tobytes())
    return sha.hexdigest()


def _json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
