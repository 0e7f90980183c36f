"""MLflow and Weights & Biases, each as its own package keeps what it was told: what the ledger has, once, in the right place."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StudyWriter
from tests.launching import DEADLINE_SECONDS, Launch, finish, round_files
from tests.shown import (
    NEEDS_MLFLOW,
    NEEDS_WANDB,
    SLOWER,
    ledger_curves,
    plain_name,
    read_mlflow,
    stop_in_the_middle,
    tensorboard_curves,
    wandb_records,
)

MLFLOW_SERVER = os.environ.get("MLFLOW_SERVER")
"""The command ``mlflow`` of an environment with the whole package, which has the server; ``make test-trackers`` gives it."""


@pytest.fixture(params=["folder", "server"])
def mlflow_uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place where MLflow's client can write: a folder, or a server with a database."""
    if request.param == "folder":
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        yield str(tmp_path / "mlflow")
    else:
        server, uri = start_mlflow(tmp_path, 5391)
        yield uri
        stop_mlflow(server)


def start_mlflow(folder: Path, port: int) -> tuple[subprocess.Popen[bytes], str]:
    """A server on the loopback interface, in a session of its own."""
    if not MLFLOW_SERVER:
        pytest.skip("no MLflow server: MLFLOW_SERVER names none (make test-trackers)")
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", str(folder / "artifacts")]
    command = [MLFLOW_SERVER, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *places]
    with (folder / "mlflow.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=os.environ | {"PYTHONPATH": ""})
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, (folder / "mlflow.log").read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return server, f"http://127.0.0.1:{port}"
    raise AssertionError((folder / "mlflow.log").read_text())


def stop_mlflow(server: subprocess.Popen[bytes]) -> None:
    """End the server and the processes that it started."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@NEEDS_MLFLOW
@pytest.mark.slow
class TestMLflow:
    def test_it_shows_what_the_ledger_has_and_a_later_launch_goes_on(
        self, study_file: StudyWriter, tmp_path: Path, mlflow_uri: str
    ) -> None:
        study, folder = study_file(**SLOWER, trackers={"mlflow": mlflow_uri}), tmp_path / "results" / "tiny"
        stop_in_the_middle(study, tmp_path / "results")
        assert {one["status"] for one in read_mlflow(mlflow_uri)} <= {"FAILED", "FINISHED"}
        finish(study, tmp_path / "results", "--no-report")
        found, expected = read_mlflow(mlflow_uri), ledger_curves(folder, plain_name)
        assert sorted(one["name"] for one in found) == sorted(expected), "a later launch began a new curve"
        for one in found:
            curve = [tuple(point) for point in one["curve"]]
            assert one["status"] == "FINISHED"
            assert len(set(curve)) == len(curve), "a round was shown twice"
            assert set(curve) <= set(expected[one["name"]])
            assert curve[-1] == expected[one["name"]][-1]
            assert {"acquisition", "seed", "dropout_rate", "trajectory_id"} <= set(one["tags"]) & set(one["params"])
            assert {"nll_deterministic", "train_seconds", "num_labelled", "accuracy_mc"} <= set(one["metrics"])
        missing = sum(map(len, expected.values())) - sum(len(one["curve"]) for one in found)
        assert missing <= 2, "more than the rounds whose news Ctrl-C overtook"

    def test_another_folder_of_the_same_name_has_curves_of_its_own(self, study_file: StudyWriter, tmp_path: Path, mlflow_uri: str) -> None:
        study = study_file(grid={"seeds": 1, "acquisition": "random"}, baseline={"full_data": False}, trackers={"mlflow": mlflow_uri})
        for name in ("one", "two"):
            finish(study, tmp_path / name, "--no-report")
        found, expected = read_mlflow(mlflow_uri), ledger_curves(tmp_path / "one" / "tiny", plain_name)
        assert [{one["name"]: [tuple(point) for point in one["curve"]]} for one in found] == [expected] * 2


@NEEDS_MLFLOW
@pytest.mark.slow
def test_a_server_that_dies_is_one_warning(study_file: StudyWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    server, uri = start_mlflow(tmp_path, 5392)
    launch = Launch(study_file(**SLOWER, trackers={"mlflow": uri}), tmp_path / "results", "--no-report")
    launch.wait_until(lambda: len(round_files(tmp_path / "results" / "tiny")) >= 1)
    stop_mlflow(server)
    assert launch.wait() == 0, launch.output
    assert launch.output.count("mlflow is not told any more in this launch") == 1
    assert "2 of 2 trajectories are finished" in launch.output
    assert len(tensorboard_curves(tmp_path / "results" / "tiny" / "tensorboard")) == 2


@NEEDS_WANDB
@pytest.mark.slow
def test_wandb_offline_keeps_what_the_ledger_has(study_file: StudyWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    finish(study_file(grid={"seeds": 1}, trackers={"wandb": "my-project"}), tmp_path / "results", "--no-report")
    folder, shown = tmp_path / "results" / "tiny", {}
    for path in folder.glob("wandb/offline-*/*.wandb"):
        records = list(wandb_records(path))
        (begun,) = {(one.run.display_name, one.run.project, one.run.run_group) for one in records if one.WhichOneof("record_type") == "run"}
        assert begun[1:] == ("my-project", "tiny")
        points = []
        for one in records:
            if one.WhichOneof("record_type") == "history":
                values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in one.history.item}
                assert {"nll_deterministic", "train_seconds", "num_labelled"} <= set(values)
                points.append((one.history.step.num, values["accuracy_deterministic"]))
        shown[begun[0]] = points
    assert shown == ledger_curves(folder, plain_name)
