"""Storage that waits out trouble which passes, and says clearly when the trouble stays.

A shared file system hangs for a moment while its server restarts; an object store answers "slow down". Such an error costs a few
seconds here instead of a trial. A disk that is full or read-only does not mend itself, so that error is told at once. In both cases
the end is one `StorageError`, which the runner tells apart from a fault of the computation.
"""

import errno
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from trainables.errors import StorageError
from trainables.storage import File, Storage, open_storage

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0

ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""Errors that are the storage's answer, not its trouble."""

LASTING = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM}
"""Trouble that somebody must mend; waiting does not."""

LASTING_WORDS = ("ACCESS_DENIED", "AccessDenied", "InvalidAccessKeyId", "INVALID_ACCESS_KEY_ID", "SignatureDoesNotMatch")
"""The same from object stores, whose errors arrive as text."""

T = TypeVar("T")


def open_patiently(location: str, patience_seconds: float, *, must_exist: bool = False) -> "Patient":
    """Storage at a path or a URI (see `open_storage`), with patience."""
    return Patient(open_storage(location, must_exist=must_exist), patience_seconds)


@dataclass
class _State:
    """What a storage and its folders have in common."""

    given_up: bool = False


class Patient:
    """A `Storage` whose operations are repeated, with growing pauses, while the trouble may pass.

    After it has given up once, an operation is tried once only, until one succeeds: whatever ends then ends quickly.
    """

    def __init__(
        self, inner: Storage, patience_seconds: float, *, sleep: Callable[[float], None] = time.sleep, state: _State | None = None
    ) -> None:
        """`patience_seconds` bounds the waiting for one operation; `sleep` is for tests."""
        self._inner = inner
        self._patience = patience_seconds
        self._sleep = sleep
        self._state = state or _State()

    @property
    def location(self) -> str:
        """The folder as a person would name it."""
        return self._inner.location

    def folder(self, name: str) -> "Patient":
        """The same storage one folder down."""
        return Patient(self._inner.folder(name), self._patience, sleep=self._sleep, state=self._state)

    def read(self, name: str) -> bytes:
        """The bytes under a name."""
        return self._repeat(lambda: self._inner.read(name))

    def write(self, name: str, data: bytes) -> None:
        """Put bytes under a name."""
        self._repeat(lambda: self._inner.write(name, data))

    def create(self, name: str, data: bytes) -> bool:
        """Put bytes under a free name; False also if an earlier try had arrived without our learning of it."""
        return self._repeat(lambda: self._inner.create(name, data))

    def exists(self, name: str) -> bool:
        """Whether there is something under a name."""
        return self._repeat(lambda: self._inner.exists(name))

    def names(self, folder: str = "") -> list[str]:
        """Sorted names in a folder."""
        return self._repeat(lambda: self._inner.names(folder))

    def files(self, folder: str = "", without: Collection[str] = ()) -> list[File]:
        """All files in and below a folder."""
        return self._repeat(lambda: self._inner.files(folder, without))

    def rename(self, name: str, new_name: str) -> None:
        """Move bytes to another name."""
        self._repeat(lambda: self._inner.rename(name, new_name))

    def remove(self, name: str) -> None:
        """Remove a name."""
        self._repeat(lambda: self._inner.remove(name))

    def _repeat(self, operation: Callable[[], T]) -> T:
        waited, pause = 0.0, FIRST_PAUSE_SECONDS
        while True:
            try:
                result = operation()
            except ANSWERS:
                raise
            except OSError as error:
                if _lasts(error) or self._state.given_up or waited >= self._patience:
                    self._state.given_up = True
                    raise StorageError(self._explain(error, waited)) from error
                # chance keeps a hundred trials that met the same trouble from coming back in the same instant
                length = min(pause * random.uniform(0.5, 1.5), self._patience - waited)
                self._sleep(length)
                waited, pause = waited + length, min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self._state.given_up = False
                return result

    def _explain(self, error: OSError, waited: float) -> str:
        waiting = f", still after {waited:.0f} s" if waited else ""
        return f"storage {self.location}: {error.strerror or error}{waiting}"


def _lasts(error: OSError) -> bool:
    return isinstance(error, StorageError) or error.errno in LASTING or any(word in str(error) for word in LASTING_WORDS)
