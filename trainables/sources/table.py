"""Reviews from one's own CSV or Parquet file: any text and label columns, any number of classes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trainables.corpus import Texts
from trainables.errors import RequestError
from trainables.sources import held_out


@dataclass(frozen=True)
class TableSource:
    """A table of reviews, and its test set: another table, or a seeded part of the same one."""

    path: Path
    """CSV, or Parquet if it ends in ``.parquet``."""
    text: str
    """Column of the texts."""
    label: str
    """Column of the classes; each distinct value is one."""
    test_path: Path | None
    """A table of test reviews with the same columns; None: `test_fraction` of `path`."""
    test_fraction: float
    """Share of each class that is tested on, where there is no `test_path`. In (0, 1)."""
    split_seed: int
    """Draws the split: part of the data, not of a trajectory's seed, so that all seeds are tested on the same reviews."""
    name: str = "csv"

    def fingerprint(self) -> str:
        """SHA-256 of the files' bytes and of all fields that choose from them."""
        sha = hashlib.sha256(repr((self.text, self.label, self.test_fraction, self.split_seed, self.test_path is None)).encode())
        for path in [self.path] + ([self.test_path] if self.test_path else []):
            if not path.is_file():
                raise RequestError(f"{path}: not a file; data.path and data.test_path must name CSV or Parquet files")
            sha.update(hashlib.sha256(path.read_bytes()).digest())
        return sha.hexdigest()

    def read(self) -> Texts:
        """Training and test reviews; classes are ordered by value."""
        table = self._table(self.path)
        if self.test_path:
            train, test = table, self._table(self.test_path)
        else:
            is_test_N = held_out(table[self.label].to_numpy(), self.test_fraction, self.split_seed)
            train, test = table[~is_test_N], table[is_test_N]
        classes = sorted(train[self.label].unique().tolist(), key=lambda value: (isinstance(value, str), value))
        self._check(classes, train, test)
        position = {value: i for i, value in enumerate(classes)}
        labels = [[position[value] for value in part[self.label]] for part in (train, test)]
        texts = [[str(value) for value in part[self.text]] for part in (train, test)]
        return Texts(texts[0], labels[0], texts[1], labels[1], tuple(str(value) for value in classes))

    def _table(self, path: Path) -> pd.DataFrame:
        """The two columns of a file, without a missing value."""
        try:
            table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, keep_default_na=False, na_values=[""])
        except UnicodeDecodeError as error:
            raise RequestError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error
        except (OSError, ValueError) as error:
            raise RequestError(f"{path}: cannot be read as a table ({error})") from error
        missing = [column for column in (self.text, self.label) if column not in table.columns]
        if missing:
            raise RequestError(f"{path}: no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, table.columns))}")
        table = table[[self.text, self.label]]
        for column in (self.text, self.label):
            empty_N = table[column].isna().to_numpy()
            if empty_N.any():
                first = int(np.flatnonzero(empty_N)[0]) + 1
                raise RequestError(f"{path}: {int(empty_N.sum()):,} of {len(table):,} rows have no {column!r}, the first is row {first}")
        if not table[self.label].map(pd.api.types.is_hashable).all():
            raise RequestError(f"{path}: column {self.label!r} holds lists; a label is one word or number")
        return table

    def _check(self, classes: list[object], train: pd.DataFrame, test: pd.DataFrame) -> None:
        if len(train) == 0 or len(test) == 0:
            raise RequestError(f"{self.path}: {len(train):,} reviews to train on and {len(test):,} to test on; both must be more than 0")
        if len(classes) < 2:
            raise RequestError(f"{self.path}: column {self.label!r} has one class, {classes[0]!r}; a classifier needs at least 2")
        unknown = sorted(set(test[self.label].tolist()) - set(classes), key=str)
        if unknown:
            reason = "are in the test set only" if self.test_path else "have one review each, too few to train and to test on"
            raise RequestError(f"{self.test_path or self.path}: classes {unknown} {reason}; add reviews or leave them out")
