"""Where reviews come from: the IMDB data set, one's own tables and features, and generated reviews."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trainables.corpus import Texts
from trainables.streams import stream

SPLIT = "test split"


def held_out(labels_N: npt.NDArray[Any], fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """True for the reviews to test on: the same share of every class, at least one of each, drawn by class and seed alone."""
    is_test_N = np.zeros(len(labels_N), dtype=bool)
    for value in sorted(set(labels_N.tolist())):
        rows = np.flatnonzero(labels_N == value)
        chosen = stream(seed, f"{SPLIT} {value}", 0).permutation(rows)
        is_test_N[chosen[: max(1, round(fraction * len(rows)))]] = True
    return is_test_N


class Source(Protocol):
    """A data set that can name its content and read it."""

    @property
    def name(self) -> str:
        """Stands in front of the corpus digest."""

    def fingerprint(self) -> str:
        """Changes whenever the texts or labels would; cheaper than `read` where that is possible.

        Raises:
            RequestError: the data are missing or malformed.
        """

    def read(self) -> Texts:
        """All texts and labels.

        Raises:
            RequestError: the data are missing, malformed or incomplete; the message has counts.
        """
