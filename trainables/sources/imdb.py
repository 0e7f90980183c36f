"""The Large Movie Review Dataset (Maas et al. 2011): 25,000 training and 25,000 test reviews, balanced.

Read from a folder or a ``.tar.gz`` in the official layout, ``aclImdb/{train,test}/{neg,pos}/ID_RATING.txt``; what else is there
(the unlabelled reviews, word counts) is passed over. An archive is read as a stream and never extracted.
"""

import hashlib
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables.corpus import Texts
from trainables.errors import RequestError

_MEMBER = re.compile(r"(?:^|/)(train|test)/(neg|pos)/(\d+)_(\d+)\.txt$")
CLASS_NAMES = ("neg", "pos")


@dataclass(frozen=True)
class ImdbSource:
    """The data set at a path."""

    path: Path
    """The folder (``aclImdb``, or the one that holds it) or the archive."""
    reviews_per_class: int = 12_500
    """Reviews that each of the four folders must hold."""
    name: str = "imdb"

    def fingerprint(self) -> str:
        """SHA-256 of the archive's bytes, or of a folder's file names and bytes."""
        if self.path.is_file():
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        sha = hashlib.sha256()
        for member, data in sorted(self._members()):
            sha.update(f"{member}\n{len(data)}\n".encode() + data)
        return sha.hexdigest()

    def read(self) -> Texts:
        """All reviews, ordered by class and id, so that a folder and an archive give the same corpus."""
        found: dict[tuple[str, str], dict[tuple[int, int], str]] = {(s, c): {} for s in ("train", "test") for c in CLASS_NAMES}
        for member, data in self._members():
            match = _MEMBER.search(member)
            if match:
                split, class_name, number, rating = match.groups()
                found[split, class_name][int(number), int(rating)] = self._decoded(member, data)
        self._check_counts({f"{split}/{class_name}": len(reviews) for (split, class_name), reviews in found.items()})
        texts = {key: [reviews[k] for k in sorted(reviews)] for key, reviews in found.items()}
        labels = [label for label in range(2) for _ in range(self.reviews_per_class)]
        return Texts(
            texts["train", "neg"] + texts["train", "pos"], labels, texts["test", "neg"] + texts["test", "pos"], labels, CLASS_NAMES
        )

    def _decoded(self, member: str, data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestError(f"{self.path}: the review {member} is not UTF-8 text ({error}); this is not the original file") from error

    def _check_counts(self, counts: dict[str, int]) -> None:
        if set(counts.values()) != {self.reviews_per_class}:
            listed = ", ".join(f"{folder} {count:,}" for folder, count in counts.items())
            raise RequestError(
                f"{self.path}: not the whole Large Movie Review Dataset: found {listed} reviews, expected {self.reviews_per_class:,} in "
                "each; give data.path (or IMDB_PATH) the folder aclImdb or the archive aclImdb_v1.tar.gz, complete"
            )

    def _members(self) -> Iterator[tuple[str, bytes]]:
        """Names and bytes of all review files."""
        if not self.path.exists():
            raise RequestError(f"{self.path}: no such file or folder; data.path (or IMDB_PATH) must name aclImdb or aclImdb_v1.tar.gz")
        return self._archive_members() if self.path.is_file() else self._folder_members()

    def _folder_members(self) -> Iterator[tuple[str, bytes]]:
        root = self.path / "aclImdb" if (self.path / "aclImdb").is_dir() else self.path
        for split in ("train", "test"):
            for class_name in CLASS_NAMES:
                folder = root / split / class_name
                for file_name in sorted(os.listdir(folder)) if folder.is_dir() else []:
                    try:
                        yield f"{split}/{class_name}/{file_name}", (folder / file_name).read_bytes()
                    except OSError as error:
                        raise RequestError(f"{folder / file_name}: cannot be read ({error.strerror})") from error

    def _archive_members(self) -> Iterator[tuple[str, bytes]]:
        count = 0
        try:
            with tarfile.open(self.path, "r|gz") as archive:
                for member in archive:
                    self._refuse_escape(member)
                    if member.isfile() and _MEMBER.search(member.name):
                        content = archive.extractfile(member)
                        if content is not None:
                            yield member.name, content.read()
                            count += 1
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise RequestError(
                f"{self.path}: the archive is damaged or cut short after {count:,} of {4 * self.reviews_per_class:,} reviews ({error}); "
                "fetch it again"
            ) from error

    def _refuse_escape(self, member: tarfile.TarInfo) -> None:
        """Nothing is extracted, yet an archive that tries to leave its folder is not the data set."""
        for name in (member.name, member.linkname):
            if name.startswith("/") or ".." in Path(name).parts:
                raise RequestError(f"{self.path}: the member {member.name!r} points outside the archive; this is not the data set")
