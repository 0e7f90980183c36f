"""Results by the place where they lie: a study's folder (a path or a URI) or a table made elsewhere; under their own plan or another.

The report and a notebook both begin here, so what one refuses the other refuses in the same words.
"""

from dataclasses import replace
from pathlib import Path

from analysis.elsewhere import read_table
from analysis.frames import Results, read_study
from sweep.folder import StudyFolder
from sweep.study_file import load_analysis_plan
from trainables.errors import RequestError
from trainables.storage import open_storage

TABLES = (".csv", ".parquet")
"""Endings of a table from elsewhere."""


def read_results(place: str, plan_file: str | None = None) -> Results:
    """The checked results at a place.

    Args:
        place: a study's folder (``STORAGE/STUDY``, a path or a URI), or a table of rounds (CSV or Parquet by its ending).
        plan_file: a YAML file whose ``analysis`` section is used in place of the declared plan; None: the declared one.

    Raises:
        RequestError: they cannot be read or compared, or the plan cannot be read.
        LedgerError: a sealed trajectory is damaged.
    """
    try:
        results = read_table(Path(place)) if Path(place).suffix in TABLES else read_study(StudyFolder(open_storage(place)))
    except ValueError as error:
        raise RequestError(f"{place}: {error}; give a study's folder or a table, as a path or URI") from error
    if plan_file is None:
        return results
    return replace(results, plan=load_analysis_plan(Path(plan_file), results.plan), plan_file=plan_file)
