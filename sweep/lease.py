"""One launch at a time runs a study: who holds it says so in ``lease.json`` and keeps saying it.

A lock of the file system would be simpler and does not exist on object stores, nor reliably on network file systems. A lease is a
file with its holder's name and a heartbeat. It is taken over at once if the holder's process is dead on this host, or if the
heartbeat stopped; a holder that finds another's name in it stops itself. Even in the instant where two launches meet no result can
be harmed: ledgers let the first writer win.
"""

import getpass
import json
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from trainables.errors import RequestError
from trainables.node import LEASE_FILE
from trainables.storage import Storage

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 30.0
"""A heartbeat older than this has stopped; clocks of hosts that share a storage must agree better than that."""


class Lease:
    """Held until released, or until another launch takes it over."""

    def __init__(self, storage: Storage, launch: str) -> None:
        """`storage` is the study's folder, `launch` the name of this launch."""
        self._storage = storage
        self._me = {"launch": launch, **_process()}
        self._released = threading.Event()
        self.lost = False
        """True once another launch holds the study."""

    def acquire(self) -> None:
        """Take the lease.

        Raises:
            RequestError: another launch holds it and is alive, or the storage cannot be written.
        """
        try:
            if not self._storage.create(LEASE_FILE, self._content()) and not self._is_mine():
                refuse_if_held(self._storage)
                self._storage.write(LEASE_FILE, self._content())
        except OSError as error:
            raise RequestError(f"{self._storage.location}: cannot be written ({error}); give another --storage") from error

    def keep(self) -> None:
        """Renew the heartbeat until released; if the lease is lost, end the main thread's work as SIGTERM does.

        Not SIGINT: a shell starts background jobs with that ignored.
        """
        while not self._released.wait(HEARTBEAT_SECONDS):
            try:
                holder = _read(self._storage)
                if not holder:
                    continue  # where the storage went away, a new lease would be made on another disk
                if holder["launch"] != self._me["launch"]:
                    self.lost = True
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                    return
                self._storage.write(LEASE_FILE, self._content())
            except OSError:
                continue  # passing trouble of the storage; if it lasts, the trials say so

    def stop(self) -> None:
        """Let the heartbeat end."""
        self._released.set()

    def release(self) -> None:
        """Give the lease back, unless it is another's by now; the heartbeat must have ended, or it might write it again."""
        try:
            if self._is_mine():
                self._storage.remove(LEASE_FILE)
        except OSError:
            pass  # it goes stale by itself

    def _is_mine(self) -> bool:
        holder = _read(self._storage)
        return bool(holder) and holder["launch"] == self._me["launch"]

    def _content(self) -> bytes:
        return json.dumps({**self._me, "heartbeat": time.time()}).encode()


@contextmanager
def held(storage: Storage, launch: str) -> Iterator[Lease]:
    """Hold a study's lease for the time of a block."""
    lease = Lease(storage, launch)
    lease.acquire()
    heartbeat = threading.Thread(target=lease.keep, daemon=True, name="lease heartbeat")
    heartbeat.start()
    try:
        yield lease
    finally:
        lease.stop()
        heartbeat.join(HEARTBEAT_SECONDS)
        if not heartbeat.is_alive():  # where the storage hangs, the lease goes stale by itself
            lease.release()


class Holder(NamedTuple):
    """Who holds a study, as its lease says."""

    launch: str
    user: str
    host: str
    pid: int
    silent_seconds: float
    """Since its last sign of life, by this machine's clock."""
    is_dead: bool
    """Its process is gone from this host, or its heartbeat has stopped: the next launch takes over at once."""


def holder_of(storage: Storage) -> Holder | None:
    """Who holds the study; None if nobody does."""
    content = _read(storage)
    if not content:
        return None
    return Holder(
        launch=content["launch"],
        user=content["user"],
        host=content["host"],
        pid=content["pid"],
        silent_seconds=max(0.0, time.time() - float(content["heartbeat"])),
        is_dead=_is_dead(content),
    )


def refuse_if_held(storage: Storage) -> None:
    """Raise RequestError, with the holder's name, if a living launch holds the study."""
    holder = holder_of(storage)
    if holder and not holder.is_dead:
        raise RequestError(
            f"{storage.location} is being run by {holder.user} on {holder.host}, process {holder.pid} "
            f"(launch {holder.launch}); wait for it, or stop it there with Ctrl-C. If that machine is gone, the same command takes "
            f"over {STALE_SECONDS:.0f} s after its last sign of life, which was {holder.silent_seconds:.0f} s ago"
        )


def _read(storage: Storage) -> dict[str, Any]:
    """The lease's content; empty if there is none, or none that can be read."""
    try:
        content: dict[str, Any] = json.loads(storage.read(LEASE_FILE))
    except (FileNotFoundError, ValueError):
        return {}
    return content if {"launch", "user", "host", "namespace", "pid", "started", "heartbeat"} <= set(content) else {}


def _process() -> dict[str, object]:
    return {"user": _user(), "host": platform.node(), "namespace": _namespace(), "pid": os.getpid(), "started": _start_of(os.getpid())}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid {os.getuid()}"


def _namespace() -> str | None:
    """The pid namespace, where there is such a thing: process numbers mean nothing beyond it."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _is_dead(holder: dict[str, Any]) -> bool:
    here = (platform.node(), _namespace())
    if (holder["host"], holder["namespace"]) == here and _start_of(holder["pid"]) != holder["started"]:
        return True
    return time.time() - float(holder["heartbeat"]) > STALE_SECONDS


def _start_of(pid: int) -> str | None:
    """When a process of this host started, so that a reused pid is not taken for it; None if there is no such live process."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        if stat.parent.parent.joinpath("self").exists():
            fields = stat.read_text().rpartition(")")[2].split()
            return None if fields[0] in "ZX" else fields[19]
        os.kill(pid, 0)
    except (OSError, IndexError):
        return None
    return "unknown"
