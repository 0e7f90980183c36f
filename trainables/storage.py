"""Bytes under names, written whole or not at all: on a local or shared path, or on an object store.

The ledger needs four things of storage: a write that survives a power cut, a write that loses to whoever wrote first, listing, and
renaming. On a file system a write goes to a temporary name, is flushed (file and folder) and renamed; creation links instead of
renaming, because a link, unlike a rename, fails if the name is taken. On an object store (``s3://``, ``gs://``, through
``pyarrow.fs``) a put is atomic by itself; creation there is a look and a put, and the chain of digests in the ledger catches the
rare writer in between.
"""

import errno
import os
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import pyarrow.fs as pafs


class File(NamedTuple):
    """What a listing says of a file."""

    name: str
    """Relative to the folder that was listed, with ``/``."""
    num_bytes: int
    modified: float
    """Seconds since 1970, by the clock of the storage; object stores tell whole seconds."""


class Storage(Protocol):
    """A folder of named byte strings; names may contain ``/``. Every method may raise OSError."""

    @property
    def location(self) -> str:
        """The folder as a person would name it."""

    def folder(self, name: str) -> "Storage":
        """The same storage one folder down; nothing is created."""

    def read(self, name: str) -> bytes:
        """The bytes under a name; FileNotFoundError if there are none."""

    def write(self, name: str, data: bytes) -> None:
        """Put bytes under a name, replacing what was there."""

    def create(self, name: str, data: bytes) -> bool:
        """Put bytes under a free name; False, and no change, if it is taken."""

    def exists(self, name: str) -> bool:
        """Whether there is something under a name."""

    def names(self, folder: str = "") -> list[str]:
        """Sorted names in a folder, without temporary files; empty if there is no such folder."""

    def files(self, folder: str = "", without: Collection[str] = ()) -> list[File]:
        """All files in and below a folder, temporary ones too, in no order; empty if there is no such folder.

        What vanishes meanwhile is left out. `without` names folders, at any depth, that are not wanted.
        """

    def rename(self, name: str, new_name: str) -> None:
        """Move bytes to another name."""

    def remove(self, name: str) -> None:
        """Remove a name; nothing happens if it is not there."""


def open_storage(location: str, *, must_exist: bool = False) -> Storage:
    """Storage at a path or a URI.

    Args:
        location: a folder, or a URI; what follows a ``?`` is options of ``pyarrow.fs``.
        must_exist: a folder that is not there is trouble, and is never made: where a shared path is not mounted, a worker would
            else fill its own disk with rounds that nobody finds.

    Raises:
        ValueError: the URI's scheme is not one that ``pyarrow.fs`` knows.
    """
    if "://" not in location:
        return LocalStorage(Path(location), Path(location) if must_exist else None)
    filesystem, path = pafs.FileSystem.from_uri(location)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return LocalStorage(Path(path), Path(path) if must_exist else None)
    return ObjectStorage(filesystem, PurePosixPath(path), location)


class LocalStorage:
    """A folder of a local or shared file system."""

    def __init__(self, root: Path, anchor: Path | None = None) -> None:
        """Nothing is created before the first write, and `anchor` never: it must be there."""
        self.root = root
        self._anchor = anchor

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self.root)

    def folder(self, name: str) -> "LocalStorage":
        """The folder `name` inside this one."""
        return LocalStorage(self.root / name, self._anchor)

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Durable and atomic."""
        write_durably(self.root / name, data, anchor=self._anchor)

    def create(self, name: str, data: bytes) -> bool:
        """Durable, atomic, and never over another's file."""
        return write_durably(self.root / name, data, replace=False, anchor=self._anchor)

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return (self.root / name).exists()

    def names(self, folder: str = "") -> list[str]:
        """Files and folders that do not begin with a dot."""
        try:
            return sorted(name for name in os.listdir(self.root / folder) if not name.startswith("."))
        except FileNotFoundError:
            return []

    def files(self, folder: str = "", without: Collection[str] = ()) -> list[File]:
        """A walk through the folders, which enters none of those that are not wanted."""
        return list(_walk(str(self.root / folder), "", frozenset(without)))

    def rename(self, name: str, new_name: str) -> None:
        """Atomic and flushed."""
        os.rename(self.root / name, self.root / new_name)
        _flush_folder((self.root / new_name).parent)

    def remove(self, name: str) -> None:
        """Delete the file if it is there."""
        (self.root / name).unlink(missing_ok=True)


def _walk(folder: str, prefix: str, without: Collection[str]) -> Iterator[File]:
    """Files of a folder that others are writing to: any of them may be gone before it is looked at."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir():
            if entry.name not in without:
                yield from _walk(entry.path, f"{prefix}{entry.name}/", without)
            continue
        try:
            facts = entry.stat()
        except FileNotFoundError:
            continue
        yield File(prefix + entry.name, facts.st_size, facts.st_mtime)


def write_durably(path: Path, data: bytes, *, replace: bool = True, anchor: Path | None = None) -> bool:
    """Write a file so that after any crash it is there whole or not at all; False if it was there and `replace` is false.

    Folders are made as needed, but neither `anchor` nor what is above it.
    """
    _make_folder(path.parent, anchor)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
        _flush_folder(path.parent)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _make_folder(folder: Path, anchor: Path | None) -> None:
    if not folder.is_dir():
        if folder == anchor:
            raise OSError(errno.ENODEV, "this folder is not on this machine; is the shared storage mounted?", str(folder))
        _make_folder(folder.parent, anchor)
        folder.mkdir(exist_ok=True)
        _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ObjectStorage:
    """A prefix of an object store, where a finished put is durable and atomic."""

    def __init__(self, filesystem: pafs.FileSystem, root: PurePosixPath, location: str) -> None:
        """`root` is the bucket and prefix; `location` the URI that a person gave."""
        self._filesystem = filesystem
        self._root = root
        self.location = location

    def _path(self, name: str) -> str:
        return str(self._root / name)

    def folder(self, name: str) -> "ObjectStorage":
        """The prefix `name` below this one."""
        path, mark, options = self.location.partition("?")
        return ObjectStorage(self._filesystem, self._root / name, f"{path.rstrip('/')}/{name}{mark}{options}")

    def read(self, name: str) -> bytes:
        """The object's bytes."""
        with self._filesystem.open_input_stream(self._path(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, data: bytes) -> None:
        """One put."""
        try:
            self._put(name, data)
        except FileNotFoundError:  # object stores have no folders; a file system that stands in for one has
            self._filesystem.create_dir(str((self._root / name).parent), recursive=True)
            self._put(name, data)

    def _put(self, name: str, data: bytes) -> None:
        with self._filesystem.open_output_stream(self._path(name)) as stream:
            stream.write(data)

    def create(self, name: str, data: bytes) -> bool:
        """A look and a put: two writers in the same instant are told apart later, by the digest chain."""
        if self.exists(name):
            return False
        self.write(name, data)
        return True

    def exists(self, name: str) -> bool:
        """Whether the object or prefix is there."""
        return bool(self._filesystem.get_file_info(self._path(name)).type != pafs.FileType.NotFound)

    def names(self, folder: str = "") -> list[str]:
        """Objects and prefixes that do not begin with a dot."""
        selector = pafs.FileSelector(self._path(folder), allow_not_found=True)
        return sorted(info.base_name for info in self._filesystem.get_file_info(selector) if not info.base_name.startswith("."))

    def files(self, folder: str = "", without: Collection[str] = ()) -> list[File]:
        """One listing, a request for each thousand objects; asking folder by folder would be a request for each round and more."""
        top = PurePosixPath(self._path(folder))
        selector = pafs.FileSelector(str(top), allow_not_found=True, recursive=True)
        found = [info for info in self._filesystem.get_file_info(selector) if info.type == pafs.FileType.File]
        files = [File(info.path.removeprefix(f"{top}/"), info.size, (info.mtime_ns or 0) / 1e9) for info in found]
        return [file for file in files if not set(without) & set(file.name.split("/")[:-1])]

    def rename(self, name: str, new_name: str) -> None:
        """A copy and a delete."""
        self._filesystem.move(self._path(name), self._path(new_name))

    def remove(self, name: str) -> None:
        """Delete the object if it is there."""
        if self.exists(name):
            self._filesystem.delete_file(self._path(name))
