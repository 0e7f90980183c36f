"""What trackers show of a study, read back from what they wrote, and what the ledger has, in the same shape."""

import json
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.launching import Launch, round_files

NEEDS_MLFLOW = pytest.mark.skipif(find_spec("mlflow") is None, reason="the extra `mlflow` is not installed")
NEEDS_WANDB = pytest.mark.skipif(find_spec("wandb") is None, reason="the extra `wandb` is not installed")
SLOWER: dict[str, Any] = {"training": {"min_steps": 300}, "grid": {"seeds": 1}, "baseline": {"full_data": False}}
"""Two trajectories, long enough to be stopped in the middle."""

Curves = dict[str, list[tuple[int, float]]]
"""Accuracy by labels, by the name of the trajectory's curve."""


def ledger_curves(folder: Path, name: Callable[[dict[str, Any]], str]) -> Curves:
    """What a tracker should show of a study: every round of every sealed trajectory."""
    tables = [pq.read_table(path).to_pylist() for path in folder.glob("trajectories/*/trajectory.parquet")]
    assert tables
    return {name(rows[0]): [(one["num_labelled"], one["accuracy_deterministic"]) for one in rows] for rows in tables}


def plain_name(one: dict[str, Any]) -> str:
    passes = f" T={one['mc_passes']}" if one["mc_passes"] else ""
    return f"{one['acquisition']} p={one['dropout_rate']}{passes} seed {one['seed']}"


def folder_name(one: dict[str, Any]) -> str:
    passes = f"-T{one['mc_passes']}" if one["mc_passes"] else ""
    return f"{one['acquisition']}-p{one['dropout_rate']}{passes}/seed-{one['seed']}"


def stop_in_the_middle(study: Path, storage: Path) -> None:
    """Ctrl-C after a round or two."""
    launch = Launch(study, storage, "--no-report")
    launch.wait_until(lambda: len(round_files(storage / "tiny")) >= 2)
    launch.send(signal.SIGINT)
    assert launch.wait() == 130, launch.output


def events(path: Path) -> Iterator[Any]:
    """The events of a file as TensorBoard writes it: length, its checksum, an event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, position = path.read_bytes(), 0
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        yield Event.FromString(data[position + 12 : position + 12 + length])
        position += 16 + length


def tensorboard_curves(folder: Path) -> Curves:
    """From event files, oldest first, which is how TensorBoard reads the files of a folder."""
    curves: Curves = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        points = curves.setdefault(str(path.parent.relative_to(folder)), [])
        for event in events(path):
            points += [(event.step, one.simple_value) for one in event.summary.value if one.tag == "ray/tune/accuracy_deterministic"]
    return curves


def rounded(curves: Curves) -> Curves:
    """As event files keep numbers: in 32 bits."""
    return {name: [(step, struct.unpack("f", struct.pack("f", value))[0]) for step, value in curve] for name, curve in curves.items()}


MLFLOW_READER = """
import json, sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("tiny")
found = []
for one in client.search_runs([experiment.experiment_id]):
    history = client.get_metric_history(one.info.run_id, "accuracy_deterministic")
    found.append({
        "name": one.info.run_name, "status": one.info.status, "tags": one.data.tags, "params": one.data.params, "metrics": one.data.metrics,
        "curve": [(point.step, point.value) for point in history],
    })
print(json.dumps(found))
"""
"""In a process of its own: MLflow's client warns of much, and warnings are errors here."""


def read_mlflow(uri: str) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", MLFLOW_READER, uri], capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of an offline file: after seven bytes, LevelDB's log: blocks of 32 KiB with pieces of records."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32_768 - position % 32_768
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(record)
            record = b""
