"""Trouble of the storage that passes costs seconds; trouble that stays ends in one clear error."""

import errno
from pathlib import Path

import pytest

from trainables.errors import StorageError
from trainables.patience import LONGEST_PAUSE_SECONDS, Patient, open_patiently
from trainables.storage import LocalStorage


class Troubled(LocalStorage):
    """A storage whose next operations fail; it counts what it is asked."""

    def __init__(self, root: Path, failures: list[OSError]) -> None:
        super().__init__(root)
        self.failures = failures
        self.asked = 0

    def folder(self, name: str) -> "Troubled":
        return Troubled(self.root / name, self.failures)

    def read(self, name: str) -> bytes:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return super().read(name)


class Clock:
    """Counts the seconds that would have been slept."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def passing(count: int) -> list[OSError]:
    return [OSError(errno.EIO, "Input/output error") for _ in range(count)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_passes_is_waited_out_with_growing_pauses(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "a").write_bytes(b"there")
    storage = Patient(Troubled(tmp_path, passing(6)), 60, sleep=clock.sleep)
    assert storage.read("a") == b"there"
    assert len(clock.pauses) == 6
    assert 0.1 < clock.pauses[0] < 0.4
    assert clock.pauses[5] > 3
    assert max(clock.pauses) <= 1.5 * LONGEST_PAUSE_SECONDS


def test_what_stays_is_told_after_the_patience_and_then_at_once(tmp_path: Path, clock: Clock) -> None:
    inner = Troubled(tmp_path, passing(1000))
    storage = Patient(inner, 20, sleep=clock.sleep)
    with pytest.raises(StorageError, match=rf"storage {tmp_path}: Input/output error, still after 20 s"):
        storage.read("a")
    assert sum(clock.pauses) == pytest.approx(20)
    asked = inner.asked
    with pytest.raises(StorageError):
        storage.read("a")
    with pytest.raises(StorageError):
        storage.folder("below").read("a")
    assert inner.asked == asked + 1
    assert sum(clock.pauses) == pytest.approx(20)


def test_after_a_success_there_is_patience_again(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "a").write_bytes(b"there")
    inner = Troubled(tmp_path, passing(1000))
    storage = Patient(inner, 1, sleep=clock.sleep)
    with pytest.raises(StorageError):
        storage.read("a")
    inner.failures.clear()
    assert storage.read("a") == b"there"
    inner.failures += passing(2)
    assert storage.read("a") == b"there"


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_what_must_be_mended_is_not_waited_for(tmp_path: Path, clock: Clock, number: int) -> None:
    storage = Patient(Troubled(tmp_path, [OSError(number, "no")]), 60, sleep=clock.sleep)
    with pytest.raises(StorageError, match=f"storage {tmp_path}: no$"):
        storage.read("a")
    assert clock.pauses == []


def test_an_object_stores_refusal_is_not_waited_for(tmp_path: Path, clock: Clock) -> None:
    error = OSError("When reading ...: AWS Error ACCESS_DENIED during HeadObject operation")
    with pytest.raises(StorageError, match="ACCESS_DENIED"):
        Patient(Troubled(tmp_path, [error]), 60, sleep=clock.sleep).read("a")
    assert clock.pauses == []


def test_an_answer_is_no_trouble(tmp_path: Path, clock: Clock) -> None:
    storage = Patient(LocalStorage(tmp_path), 60, sleep=clock.sleep)
    with pytest.raises(FileNotFoundError):
        storage.read("missing")
    storage.write("sub/a", b"1")
    assert not storage.create("sub/a", b"2")
    storage.rename("sub/a", "sub/b")
    assert storage.folder("sub").names() == ["b"]
    assert storage.exists("sub/b")
    storage.remove("sub/b")
    assert storage.names("sub") == []
    assert clock.pauses == []


def test_a_folder_that_went_away_is_trouble_and_is_not_made_again(tmp_path: Path) -> None:
    """Where a shared path is not mounted, a worker must not write to its own disk."""
    root = tmp_path / "shared" / "study"
    storage = open_patiently(str(root), 0.3, must_exist=True)
    with pytest.raises(StorageError, match="this folder is not on this machine; is the shared storage mounted"):
        storage.folder("trajectories/1").create("spec.json", b"{}")
    assert not (tmp_path / "shared").exists()
    root.mkdir(parents=True)
    assert storage.folder("trajectories/1").create("spec.json", b"{}")
