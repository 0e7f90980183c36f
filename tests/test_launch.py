"""The command as a person gives it: what it prints, what it leaves, what it refuses, and how it ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sweep.launch import main
from sweep.lease import LEASE_FILE
from tests.conftest import StudyWriter
from tests.launching import Launch, attempts, descendants, finish, kill, round_files, sealed_science


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the steps of `TestAWholeStudy` leave their results for each other."""
    return tmp_path_factory.mktemp("study") / "results"


class TestAWholeStudy:
    """One study from its first launch to its extension; the steps build on each other."""

    def test_it_runs_and_reports(self, study_file: StudyWriter, storage: Path) -> None:
        output = finish(study_file(), storage)
        folder = storage / "tiny"
        assert "6  unique trajectories (18 rounds)" in output
        assert "6 of 6 trajectories are finished" in output
        assert "SYNTHETIC reviews" in output
        assert str(folder) in output
        assert "--set grid.seeds=20" in output
        assert f"python -m analysis.report {folder}" in output
        assert sorted(path.name for path in folder.iterdir()) == [
            "launches",
            "plan.json",
            "report",
            "study.yaml",
            "tensorboard",
            "test_labels.npy",
            "trajectories",
        ]
        assert yaml.safe_load((folder / "study.yaml").read_text())["training"]["gradient_clip"] == 1.0
        (record,) = (json.loads(path.read_text()) for path in (folder / "launches").iterdir())
        assert record["outcome"] == "finished"
        assert record["versions"]["torch"]
        assert record["hardware"]["cores"] == os.cpu_count()
        assert {attempt["threads"] for _, attempt in attempts(folder)} == {1}
        report = json.loads((folder / "report" / "report.json").read_text())
        assert report["synthetic"] is True
        assert report["provenance"]["trajectories"] == {"planned": 6, "finished": 6, "failed": 0, "missing": 0}
        assert report["plan_changes"] == []
        assert [row["jaccard"] for row in report["overlap"]]
        assert len(pd.read_parquet(folder / "report" / "rounds.parquet")) == 18

    def test_arms_are_paired(self, storage: Path) -> None:
        rounds = pd.read_parquet(storage / "tiny" / "report" / "rounds.parquet")
        first = rounds[rounds["round"] == 0]
        assert (first.groupby("seed")["initial_weights_hash"].nunique() == 1).all()
        assert (first[first["acquisition"] != "full_data"].groupby("seed")["initial_set_hash"].nunique() == 1).all()

    def test_again_runs_nothing(self, study_file: StudyWriter, storage: Path) -> None:
        before = round_files(storage / "tiny")
        output = finish(study_file(), storage, "--no-report")
        assert "0  to run (0 rounds)" in output
        assert round_files(storage / "tiny") == before

    def test_more_of_everything_runs_only_what_is_new(self, study_file: StudyWriter, storage: Path) -> None:
        before = round_files(storage / "tiny")
        grid = {"seeds": 3, "acquisition": ["random", "entropy", "bald"], "dropout_rate": [0.25, 0.5], "mc_passes": [3, 4]}
        begun_before = {path for path, _ in attempts(storage / "tiny")}
        one_at_a_time = {"cpu": (os.cpu_count() or 1) // 2 + 1}
        output = finish(study_file(grid=grid, resources=one_at_a_time), storage)
        # 3 seeds x 2 rates x (full, random, 2 x entropy, 2 x bald)
        assert "36  unique trajectories" in output
        assert "6  finished already" in output
        assert "30  to run" in output
        after = round_files(storage / "tiny")
        assert {path: after[path] for path in before} == before
        assert json.loads((storage / "tiny" / "report" / "report.json").read_text())["provenance"]["trajectories"]["finished"] == 36
        new = sorted((record["begun"], path.parents[1]) for path, record in attempts(storage / "tiny") if path not in begun_before)
        seeds = [json.loads((folder / "spec.json").read_text())["seed"] for _, folder in new]
        assert seeds == [0] * 9 + [1] * 9 + [2] * 12

    def test_fewer_seeds_forget_nothing(self, study_file: StudyWriter, storage: Path) -> None:
        finish(study_file(grid={"seeds": 1}), storage)
        assert json.loads((storage / "tiny" / "report" / "report.json").read_text())["provenance"]["trajectories"]["planned"] == 36

    def test_a_changed_science_is_refused_with_a_diff(
        self, study_file: StudyWriter, storage: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = sealed_science(storage / "tiny")
        changed = study_file(training={"learning_rate": 0.03}, model={"hidden_dim": 9}, data={"train_size": 170})
        assert main([str(changed), "--storage", str(storage)]) == 2
        told = capsys.readouterr().err
        assert "model.hidden_dim: 8 -> 9" in told
        assert "training.learning_rate: 0.02 -> 0.03" in told
        assert "data.train_size: 160 -> 170" in told
        assert "another name" in told
        assert sealed_science(storage / "tiny") == before

    def test_other_resources_are_no_other_science(self, study_file: StudyWriter, storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([str(study_file(resources={"cpu": 2})), "--storage", str(storage), "--dry-run"]) == 0
        assert "0  to run" in capsys.readouterr().out


def test_a_dry_run_writes_nothing_and_says_the_same_in_json(
    study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "results"
    study = str(study_file(grid={"mc_passes": [1, 3], "acquisition": ["random", "bald"]}))
    assert main([study, "--storage", str(storage), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for line in (
        "10  cells (seed x acquisition x dropout rate x T, and full data)",
        " 4    of them share a trajectory: random does not depend on T",
        " 2    of them refused: bald is identically 0 at T=1: it picks as random",
        " 6  unique trajectories (18 rounds)",
        " 0  finished already",
        " 6  to run (18 rounds)",
    ):
        assert line in printed
    assert max(map(len, printed.splitlines()[1:])) <= 80
    assert main([study, "--storage", str(storage), "--dry-run", "--json"]) == 0
    view = json.loads(capsys.readouterr().out)
    assert (view["cells"], view["trajectories"], view["finished"], view["remaining"]) == (10, 6, 0, 6)
    assert view["merged"] == {"random does not depend on T": 4}
    assert list(view["refused"].values()) == [2]
    assert len(view["remaining_trajectories"]) == 6
    assert not storage.exists()


def refuse(arguments: list[str], capsys: pytest.CaptureFixture[str], storage: Path) -> str:
    before = sorted(storage.rglob("*")) if storage.exists() else None
    assert main([*arguments, "--storage", str(storage)]) == 2
    assert (sorted(storage.rglob("*")) if storage.exists() else None) == before, "a refused request wrote something"
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told.replace("\n", " ")


class TestWhatIsRefused:
    """Exit code 2, one clear message, nothing written."""

    @pytest.mark.parametrize(
        ("sections", "message"),
        [
            ({"grid": {"aquisition": "random"}}, "did you mean acquisition?"),
            ({"training": {"learning_rate": "1e-3"}}, "YAML reads 1e-3 as text"),
            ({"grid": {"dropout_rate": 1.2}}, "must be less than 1"),
            ({"protocol": {"label_budgets": [10, 5000]}}, "ends at 5,000, but the corpus has 160 training reviews"),
            ({"data": {"source": "imdb", "path": "/nowhere"}}, "/nowhere: no such file or folder"),
            ({"storage": "what://is/this"}, "storage = "),
        ],
    )
    def test_in_the_study_file(
        self, study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str], sections: dict[str, Any], message: str
    ) -> None:
        if "source" in sections.get("data", {}):
            sections = {"data": None, **sections}
            path = study_file()
            content = yaml.safe_load(path.read_text()) | {"data": {"source": "imdb", "path": "/nowhere"}}
            path.write_text(yaml.safe_dump(content))
        else:
            path = study_file(**sections)
        if "storage" in sections:
            assert main([str(path)]) == 2
            assert message in capsys.readouterr().err
        else:
            assert message in refuse([str(path)], capsys, tmp_path / "results")

    def test_data_of_one_class(self, study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        pd.DataFrame({"text": ["a", "b"], "label": [1, 1]}).to_csv(tmp_path / "one.csv", index=False)
        path = study_file()
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"data": {"source": "csv", "path": str(tmp_path / "one.csv")}}))
        assert "has one class, 1" in refuse([str(path)], capsys, tmp_path / "results")

    def test_a_storage_that_cannot_be_written(self, study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_text("")
        assert "cannot be read as a folder" in refuse([str(study_file())], capsys, tmp_path / "file")
        output = finish(study_file(), Path("/proc/al-sweep"), expected=2, log_folder=tmp_path)
        assert "/proc/al-sweep/tiny: cannot be written" in output

    @pytest.mark.parametrize("content", ["thesis.docx", "trajectories"])
    def test_a_folder_that_holds_something_else(
        self, study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
    ) -> None:
        (tmp_path / "results" / "tiny" / content).mkdir(parents=True)
        assert "holds something else" in refuse([str(study_file())], capsys, tmp_path / "results")

    def test_a_damaged_study(self, study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = tmp_path / "results" / "tiny"
        folder.mkdir(parents=True)
        (folder / "study.yaml").write_text("study: tiny\n")
        (folder / "plan.json").write_text("{")
        assert "plan.json is damaged" in refuse([str(study_file())], capsys, tmp_path / "results")

    def test_json_without_a_dry_run(self, study_file: StudyWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "together with --dry-run" in refuse([str(study_file()), "--json"], capsys, tmp_path / "results")

    def test_more_than_the_machine_has(self, study_file: StudyWriter, tmp_path: Path) -> None:
        output = finish(study_file(resources={"cpu": 999}), tmp_path / "results", expected=2)
        assert "resources.cpu = 999: this machine has" in output
        assert not (tmp_path / "results").exists()

    @pytest.mark.parametrize("address", ["127.0.0.1:9", "nonsense"])
    def test_a_cluster_that_is_not_there(self, study_file: StudyWriter, tmp_path: Path, address: str) -> None:
        output = finish(study_file(), tmp_path / "results", "--address", address, expected=2)
        assert f"--address {address}: no Ray cluster answers there" in output
        assert "Traceback" not in output
        assert not (tmp_path / "results").exists()


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(study_file: StudyWriter, tmp_path: Path) -> None:
    study = study_file(training={"min_steps": 400})
    folder = tmp_path / "results" / "tiny"
    launch = Launch(study, tmp_path / "results", "--no-report")
    launch.wait_until((folder / LEASE_FILE).exists)
    second = Launch(study, tmp_path / "results", "--no-report")
    assert second.wait() == 2
    assert f"process {launch.process.pid}" in second.output
    launch.wait_until(lambda: len(round_files(folder)) >= 2)
    launch.send(signal.SIGINT)
    assert launch.wait() == 130, launch.output
    assert "Every finished round is kept; the same command goes on:" in launch.output
    assert f"python -m sweep.launch {study} --storage {tmp_path / 'results'} --no-report" in launch.output
    assert "Traceback" not in launch.output
    assert not (folder / LEASE_FILE).exists()
    before = round_files(folder)
    again = Launch(study, tmp_path / "results", "--no-report")
    again.wait_until(lambda: len(round_files(folder)) > len(before))
    again.send(signal.SIGTERM)
    assert again.wait() == 130, again.output
    assert "the same command goes on" in again.output
    outcomes = [json.loads(path.read_text())["outcome"] for path in (folder / "launches").iterdir()]
    assert outcomes == ["interrupted", "interrupted"]
    finish(study, tmp_path / "results", "--no-report")
    after = round_files(folder)
    assert {path: after[path] for path in before} == before


def test_a_failure_is_recorded_and_the_others_go_on(study_file: StudyWriter, tmp_path: Path) -> None:
    """A NaN loss, and a ledger that was torn by someone else, each end one trajectory; then the torn one is mended."""
    study = study_file(grid={"seeds": 1})
    folder = tmp_path / "results" / "tiny"
    finish(study, tmp_path / "results", "--no-report")
    victim = next(path.parent for path in folder.glob("trajectories/*/rounds") if len(list(path.iterdir())) == 4)
    (victim / "trajectory.parquet").unlink()
    whole = (victim / "rounds" / "0001.json").read_bytes()
    (victim / "rounds" / "0001.json").write_bytes(whole[:50])
    output = finish(study_file(grid={"seeds": 2}), tmp_path / "results", expected=1)
    assert f"failed {victim.name}: LedgerError" in output
    assert "0001.json is not a finished round" in output
    assert "5 of 6 trajectories are finished" in output
    assert json.loads((victim / "failure.json").read_text())["error"].startswith("LedgerError")
    (gap,) = json.loads((folder / "report" / "report.json").read_text())["provenance"]["gaps"]
    assert gap["trajectory_id"] == victim.name
    assert gap["reason"].startswith("failed: LedgerError")
    (victim / "rounds" / "0001.json").write_bytes(whole)
    assert "6 of 6 trajectories are finished" in finish(study_file(grid={"seeds": 2}), tmp_path / "results", "--no-report")
    assert not (victim / "failure.json").exists()


def test_a_nan_loss_names_trajectory_round_and_step(study_file: StudyWriter, tmp_path: Path) -> None:
    study = study_file(grid={"seeds": 1}, training={"learning_rate": 1e38, "prior_length_scale": 1e19})
    output = finish(study, tmp_path / "results", expected=1)
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "tiny").glob("trajectories/*/failure.json")]
    assert len(records) == 3
    for record in records:
        assert "round 0: the training loss is nan at gradient step" in record["error"]
        assert record["error"] in output
    assert "0 of 3 trajectories are finished" in output
    # an error of the computation is not tried again within the launch
    assert len(list((tmp_path / "results" / "tiny").glob("trajectories/*/attempts/*"))) == 3


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_running_cluster(study_file: StudyWriter, tmp_path: Path) -> None:
    """A cluster that was started by ``ray start``: the launch uses it and leaves it running."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ray = Path(sys.executable).parent / "ray"
    short = tempfile.mkdtemp(prefix="r")  # sockets live here, and their paths may not be long
    options = [f"--port={port}", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={short}", "--disable-usage-stats"]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    head = subprocess.Popen(
        [ray, "start", "--head", "--block", "--node-ip-address=127.0.0.1", *options], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not answers(port) and time.monotonic() < deadline:
            time.sleep(0.2)
        launch = Launch(study_file(grid={"seeds": 1}), tmp_path / "results", "--address", f"127.0.0.1:{port}", "--no-report")
        assert launch.wait() == 0, launch.output
        assert "3 of 3 trajectories are finished" in launch.output
        assert head.poll() is None
    finally:
        for pid in [head.pid, *descendants(head.pid)]:
            kill(pid)
        head.wait()
        shutil.rmtree(short, ignore_errors=True)
