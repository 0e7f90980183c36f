"""What status makes of a folder: one that changes while it is read, one that is none, and what takes space in it."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep import listing
from sweep.lease import held
from sweep.status import main
from tests.half_done import LAUNCH, Planted, half_done
from trainables.corpus import Corpus
from trainables.storage import LocalStorage


@pytest.fixture
def planted(tmp_path: Path, corpus: Corpus) -> Planted:
    return half_done(tmp_path, corpus)


@pytest.fixture
def running(planted: Planted) -> Iterator[Planted]:
    with held(planted.storage, LAUNCH):
        planted.age("lease.json", 0)
        yield planted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--watch", "0"], "--watch 0: must be a number of seconds above 0"),
        (["--watch", "nan"], "--watch nan: must be a number of seconds above 0"),
        (["--watch", "--json"], "without --disk and --json"),
        (["--watch", "--disk"], "without --disk and --json"),
    ],
)
def test_options_that_make_no_sense(planted: Planted, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert main([str(planted.root), *options]) == 2
    assert message in capsys.readouterr().err


def test_files_that_vanish_or_are_half_written_are_not_there_yet(
    running: Planted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledgers = running.root / "trajectories"
    failed, done = (ledgers / running.spec("random", seed).trajectory_id for seed in (1, 0))
    (failed / "failure.json").write_text('{"error": "Comp')
    running.age(f"trajectories/{failed.name}/failure.json", 400)
    (done / "rounds" / ".0004.json.tmp").write_text("{")
    (done / "rounds" / "0003.json.unchained-1").write_text("{}")
    (ledgers / "notes.txt").write_text("of a person")
    real = listing._fill

    def fill(trajectories: Any, files: Any) -> None:
        real(trajectories, files)
        shutil.rmtree(ledgers / running.spec("entropy", 0).trajectory_id)  # between the listing and the reading

    monkeypatch.setattr(listing, "_fill", fill)
    found = running.status(capsys)
    assert found["rounds"] == 7
    assert found["failed"] == [failed.name]
    assert found["failures"] == []
    assert found["trajectories"]["running"] == 0


def test_a_folder_that_is_written_meanwhile(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger appears and vanishes, half of it, as fast as a thread can, while each view is made again and again."""
    ledgers, stop, times = planted.root / "trajectories", threading.Event(), [0]
    source = ledgers / planted.spec("random", 1).trajectory_id
    target = ledgers / planted.spec("entropy", 1).trajectory_id

    def disturb() -> None:
        while not stop.is_set():
            shutil.copytree(source, target)
            (target / "failure.json").write_text("{")
            (target / "rounds" / "0000.json").unlink()
            shutil.rmtree(target)
            times[0] += 1

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(40):
            for options in ([], ["--json"], ["--disk"]):
                assert main([str(planted.root), *options]) == 0
    finally:
        stop.set()
        thread.join()
    assert capsys.readouterr().out.count("of 6 trajectories done") == 40
    assert times[0] > 3, "the folder changed meanwhile"


@pytest.mark.parametrize("text", ["protocol: 3", "- a list", "protocol: {label_budgets: [10]}", "a: [", ""])
def test_a_damaged_study_file_is_told(planted: Planted, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (planted.root / "study.yaml").write_text(text)
    assert main([str(planted.root)]) == 2
    assert "study.yaml is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("a file")])
def test_what_is_no_study_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any) -> None:
    make(tmp_path / "place")
    assert main([str(tmp_path / "place")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "place") in error.replace("\n", "")
    assert len(error.strip().splitlines()) <= 2


def test_disk(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    stranger = planted.root / "trajectories" / "0123456789abcdef"
    stranger.mkdir()
    (stranger / "spec.json").write_bytes(b"x" * 50_000)
    aside = planted.root / "trajectories" / planted.spec("entropy", 0).trajectory_id / "rounds" / "0003.json.unchained-1"
    aside.write_bytes(b"y" * 700)
    (planted.root / "tensorboard" / "one").mkdir(parents=True)
    (planted.root / "tensorboard" / "one" / "events").write_bytes(b"z" * 300)
    assert main([str(planted.root), "--disk", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kinds"]["rounds"]["files"] == 7
    assert found["kinds"]["rounds set aside"] == {"files": 1, "bytes": 700}
    assert found["kinds"]["tensorboard"] == {"files": 1, "bytes": 300}
    total = sum(path.stat().st_size for path in planted.root.rglob("*") if path.is_file())
    assert sum(kind["bytes"] for kind in found["kinds"].values()) == total
    assert next(iter(found["largest"].items())) == (stranger.name, {"bytes": 50_000, "what": "no cell's"})
    assert "random p=0.25, seed 0" in {one["what"] for one in found["largest"].values()}
    # the last round of the finished trajectory has predictions
    predictions = f"trajectories/{planted.spec('random', 0).trajectory_id}/predictions"
    assert [(item["paths"], item["bytes"]) for item in found["removable"]] == [
        (["trajectories/0123456789abcdef"], 50_000),
        ([predictions], (planted.root / predictions / "0003.npz").stat().st_size),
        ([str(aside.relative_to(planted.root))], 700),
        (["tensorboard"], 300),
    ]
    assert main([str(planted.root), "--disk"]) == 0
    assert f"  rm -r {planted.root}/trajectories/0123456789abcdef\n" in capsys.readouterr().out


def test_the_commands_that_disk_tells_remove_what_they_say_and_nothing_else(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """Predictions of a trajectory that is not finished are left: without them it could not go on."""
    ledgers = planted.root / "trajectories"
    done, unfinished = (ledgers / planted.spec(name, 0).trajectory_id for name in ("random", "entropy"))
    (unfinished / "predictions").mkdir()
    (unfinished / "predictions" / "0001.npz").write_bytes(b"x" * 10)
    (ledgers / "0123456789abcdef").mkdir()
    (ledgers / "0123456789abcdef" / "spec.json").write_bytes(b"{}")
    (done / "rounds" / "0001.json.unchained-1").write_bytes(b"{}")
    (done / "rounds" / ".0002.json.1234abcd.tmp").write_bytes(b"{")
    (planted.root / "report").mkdir()
    (planted.root / "report" / "report.html").write_bytes(b"<html>")
    before = {path for path in planted.root.rglob("*") if path.is_file()}
    assert main([str(planted.root), "--disk", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["removable"]
    assert {path for path in planted.root.rglob("*") if path.is_file()} == before, "status removes nothing itself"
    for item in told:
        for command in item["commands"]:
            subprocess.run(command, shell=True, check=True)
    gone = {str(path.relative_to(planted.root)) for path in before if not path.exists()}
    assert gone == {
        f"trajectories/{done.name}/predictions/0003.npz",
        "trajectories/0123456789abcdef/spec.json",
        f"trajectories/{done.name}/rounds/0001.json.unchained-1",
        f"trajectories/{done.name}/rounds/.0002.json.1234abcd.tmp",
        "report/report.html",
    }
    assert len(gone) == sum(item["files"] for item in told)
    assert main([str(planted.root), "--disk"]) == 0
    assert "could be removed" not in capsys.readouterr().out


def test_disk_warns_while_a_launch_runs(running: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(running.root), "--disk"]) == 0
    assert "a launch is running: remove nothing before it has ended" in capsys.readouterr().out


def test_finished_trajectories_are_told_from_the_listing(
    tmp_path: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of a finished trajectory is read: what is, is counted here."""
    study = Planted(tmp_path, corpus)
    sealed = study.spec("random", 0)
    study.compute(sealed, 4, [7000, 6000, 3000, 2000, 1000])
    read: list[str] = []
    real = LocalStorage.read
    monkeypatch.setattr(LocalStorage, "read", lambda self, name: read.append(name) or real(self, name))
    study.status(capsys)
    assert sorted(read) == sorted(["plan.json", "study.yaml", f"launches/{LAUNCH}.json", "lease.json"])
