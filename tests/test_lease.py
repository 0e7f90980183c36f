"""One launch at a time: alive holders are respected, dead ones are not waited for."""

import json
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sweep import lease
from sweep.lease import LEASE_FILE, STALE_SECONDS, Lease, held
from trainables.errors import RequestError
from trainables.storage import LocalStorage


def written(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / LEASE_FILE).read_text())
    return content


def test_it_is_there_while_it_is_held(tmp_path: Path) -> None:
    with held(LocalStorage(tmp_path), "launch-1"):
        assert written(tmp_path)["launch"] == "launch-1"
    assert not (tmp_path / LEASE_FILE).exists()


def test_a_second_launch_is_refused_with_the_holders_name(tmp_path: Path) -> None:
    with held(LocalStorage(tmp_path), "launch-1"):
        with pytest.raises(RequestError, match=rf"is being run by \S+ on {platform.node()}, process \d+ \(launch launch-1\)"):
            Lease(LocalStorage(tmp_path), "launch-2").acquire()
        assert written(tmp_path)["launch"] == "launch-1"


def test_a_dead_process_of_this_host_is_not_waited_for(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from sweep.lease import Lease; from trainables.storage import LocalStorage\n"
        "Lease(LocalStorage(Path(sys.argv[1])), 'dead').acquire(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 9
    assert written(tmp_path)["launch"] == "dead"
    with held(LocalStorage(tmp_path), "next"):
        assert written(tmp_path)["launch"] == "next"


@pytest.mark.parametrize(("age", "alive"), [(STALE_SECONDS / 2, True), (STALE_SECONDS * 2, False)])
def test_another_hosts_heartbeat_decides(tmp_path: Path, age: float, alive: bool) -> None:
    Lease(LocalStorage(tmp_path), "far").acquire()
    content = written(tmp_path) | {"host": "elsewhere", "heartbeat": time.time() - age}
    (tmp_path / LEASE_FILE).write_text(json.dumps(content))
    second = Lease(LocalStorage(tmp_path), "here")
    if alive:
        with pytest.raises(RequestError, match="elsewhere"):
            second.acquire()
    else:
        second.acquire()
        assert written(tmp_path)["launch"] == "here"


def test_a_reused_pid_is_not_the_holder(tmp_path: Path) -> None:
    Lease(LocalStorage(tmp_path), "before").acquire()
    (tmp_path / LEASE_FILE).write_text(json.dumps(written(tmp_path) | {"started": "1"}))
    Lease(LocalStorage(tmp_path), "after").acquire()
    assert written(tmp_path)["launch"] == "after"


def test_a_torn_lease_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / LEASE_FILE).write_text("{")
    Lease(LocalStorage(tmp_path), "after").acquire()
    assert written(tmp_path)["launch"] == "after"


def test_the_heart_beats_and_a_lost_lease_stops_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.05)
    before_test = signal.signal(signal.SIGTERM, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, before_test))
    holder = None

    def wait_to_lose() -> None:
        nonlocal holder
        with held(LocalStorage(tmp_path), "first") as holder:
            before = written(tmp_path)["heartbeat"]
            time.sleep(0.3)
            assert written(tmp_path)["heartbeat"] > before
            stolen = json.dumps(written(tmp_path) | {"launch": "thief"})
            while True:  # again and again: a heartbeat may come between
                (tmp_path / LEASE_FILE).write_text(stolen)
                time.sleep(0.2)

    with pytest.raises(KeyboardInterrupt):
        wait_to_lose()
    assert holder is not None
    assert holder.lost
    assert written(tmp_path)["launch"] == "thief"
