"""Where reviews come from: the IMDB data set, one's own tables, and generated reviews."""

from typing import Protocol

from trainables.corpus import Texts


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
