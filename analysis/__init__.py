"""From ledgers to a report, and to a notebook. Reads what is on storage, never Ray; imports neither torch nor Ray.

    from analysis import load_study

is all that a notebook needs. Importing this package loads nothing else: pandas and what follows come with the first study that is
read, so that ``python -m analysis.report --help`` does not wait for them.
"""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.notebook import LoadedStudy

__all__ = ["load_study"]


def load_study(place: str | PathLike[str], *, plan: str | PathLike[str] | None = None) -> "LoadedStudy":
    """Open a study's results to be looked at and tested, while it runs too.

    Args:
        place: the study's folder (``results/quickstart``, an ``s3://`` or ``gs://`` URI), or a table of rounds made elsewhere
            (``.csv``, ``.parquet``).
        plan: a YAML file whose ``analysis`` section is used in place of the plan that was declared.

    Raises:
        trainables.errors.RequestError: there are no results, or they cannot be compared; the message says what to do.
        trainables.errors.LedgerError: a sealed trajectory is damaged.
    """
    from analysis.loading import read_results
    from analysis.notebook import LoadedStudy

    return LoadedStudy(read_results(str(place), None if plan is None else str(plan)))
