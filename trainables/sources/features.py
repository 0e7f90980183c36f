"""Reviews as vectors: the features that an encoder outside has made of them, in NumPy files, with their classes.

Everything before the classifier's head is then known and the same for all trajectories; the texts are not needed any more.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.arrays import Floats32
from trainables.corpus import Corpus, of_features
from trainables.errors import RequestError
from trainables.sources import held_out

Files = tuple[str, str]
"""Where the features of some reviews are, and where their classes."""


def features_corpus(train: Files, test: Files | None, *, test_fraction: float, split_seed: int, standardize: bool) -> Corpus:
    """The corpus of a ``data`` section whose source is ``features``.

    Args:
        train: features (N, F) and classes (N,) of the reviews.
        test: the same of the test reviews; None: `test_fraction` of each class of `train`, drawn by `split_seed`.
        test_fraction: in (0, 1).
        split_seed: part of the data, not of a trajectory's seed.
        standardize: bring each feature to mean 0 and standard deviation 1 over the training reviews.

    Raises:
        RequestError: a file is missing or is no such matrix, or the classes do not fit.
    """
    x_NF, y_N = _read(train)
    if test:
        test_x, test_y = _read(test)
        if test_x.shape[1] != x_NF.shape[1]:
            raise RequestError(f"{test[0]} has {test_x.shape[1]} features a review, {train[0]} has {x_NF.shape[1]}; use the same encoder")
    else:
        is_test_N = held_out(y_N, test_fraction, split_seed)
        x_NF, y_N, test_x, test_y = x_NF[~is_test_N], y_N[~is_test_N], x_NF[is_test_N], y_N[is_test_N]
    classes = sorted(set(y_N.tolist()))
    unknown = sorted(set(test_y.tolist()) - set(classes))
    if len(classes) < 2 or unknown:
        what = f"the classes {unknown} are in the test set only" if unknown else f"one class only ({classes})"
        raise RequestError(f"{train[1]}: {what}; a classifier needs at least two classes, each with reviews to train on")
    if standardize:
        x_NF, test_x = _standardized(x_NF, test_x)
    train_part, test_part = ((x, np.searchsorted(classes, y).astype(np.int32)) for x, y in ((x_NF, y_N), (test_x, test_y)))
    return of_features("features", train_part, test_part, tuple(str(name) for name in classes))


def _read(files: Files) -> tuple[Floats32, npt.NDArray[Any]]:
    """Features (N, F), finite, and classes (N,), whole numbers or words, of the same reviews."""
    x_NF, y_N = _features(files[0]), _array(files[1])
    if y_N.ndim != 1 or y_N.dtype.kind not in "iubU":
        raise RequestError(f"{files[1]}: shape {y_N.shape}, type {y_N.dtype}; it must be (reviews,), of whole numbers or words")
    if len(x_NF) != len(y_N):
        raise RequestError(f"{files[0]} has {len(x_NF):,} reviews, {files[1]} has {len(y_N):,}; both need a row for each, in one order")
    return x_NF, y_N


def _array(path: str) -> npt.NDArray[Any]:
    if not Path(path).is_file():
        raise RequestError(f"{path}: not a file; give the NumPy file (.npy) of features or of classes")
    try:
        found = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RequestError(f"{path}: no NumPy file of numbers or words; save it with numpy.save, as .npy") from error
    if not isinstance(found, np.ndarray):
        raise RequestError(f"{path}: an archive of several arrays; save the one array with numpy.save, as .npy")
    return found


def _features(path: str) -> Floats32:
    """(N, F), finite."""
    found = _array(path)
    if found.ndim != 2 or found.dtype.kind not in "fiu" or 0 in found.shape:
        raise RequestError(f"{path}: an array of shape {found.shape} and type {found.dtype}; it must be (reviews, features), of numbers")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is told below
        x_NF: Floats32 = found.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(x_NF).all(axis=1))
    if len(broken):
        raise RequestError(f"{path}: {len(broken):,} reviews have features that are not finite in float32, the first in row {broken[0]}")
    return x_NF


def _standardized(x_NF: Floats32, test_x: Floats32) -> tuple[Floats32, Floats32]:
    """Both, shifted and scaled by the training reviews' mean and standard deviation; a feature that never varies is only shifted."""
    mean_F, std_F = x_NF.mean(axis=0, dtype=np.float64), x_NF.std(axis=0, dtype=np.float64)
    scale_F = np.where(std_F > 0, std_F, 1)
    train, test = (((x - mean_F) / scale_F).astype(np.float32) for x in (x_NF, test_x))
    return train, test
