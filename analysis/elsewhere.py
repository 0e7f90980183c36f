"""Read a table of rounds that something else has made, so that anyone's learning curves can be tested: CSV or Parquet."""

from pathlib import Path

import pandas as pd

from sweep.fields import did_you_mean
from trainables.errors import RequestError

REQUIRED = ("acquisition", "dropout_rate", "seed", "num_labelled", "accuracy_deterministic")
"""Columns without which there is nothing to compare; the full-data model is a row with acquisition ``full_data``."""

WHOLE = ("seed", "num_labelled", "mc_passes")
"""Columns of whole numbers; mc_passes may be empty."""

MEASURED = tuple(f"{name}_{mode}" for name in ("accuracy", "nll", "brier", "ece") for mode in ("deterministic", "mc"))
"""Columns of metrics; those that are not there were not measured."""


def checked_table(path: Path) -> pd.DataFrame:
    """The table with all columns that the analysis reads, typed; rows are counted as in the file, the heading being row 1.

    Raises:
        RequestError: with the file, the column, the row and the remedy.
    """
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{path} cannot be read as a table ({error}); give a CSV or Parquet file of rounds, or a study's folder"
        ) from error
    absent = [name for name in REQUIRED if name not in table]
    if absent:
        hints = "".join(did_you_mean(name, [str(column) for column in table]).replace("did you mean", f"is {name}") for name in absent)
        raise RequestError(f"{path} lacks the columns {', '.join(absent)}; it has {', '.join(map(str, table))}{hints}")
    if table.empty:
        raise RequestError(f"{path} has no rows; give a table with a row a round")
    for name in (*WHOLE, *MEASURED, "dropout_rate"):
        table[name] = _numbers(path, table, name) if name in table else float("nan")
    for name in WHOLE:
        table[name] = table[name].astype("Int64")
    table["acquisition"] = table["acquisition"].astype(str)
    if "trajectory_id" not in table:
        table["trajectory_id"] = ""
    return table


def _numbers(path: Path, table: pd.DataFrame, name: str) -> pd.Series:
    """A column as numbers; whole ones where they have to be."""
    numbers = pd.to_numeric(table[name], errors="coerce").astype(float)
    wrong = numbers.isna() & table[name].notna()
    rule = "a number"
    if name in WHOLE:
        wrong |= numbers.notna() & (numbers % 1 != 0)
        rule = "a whole number"
    if name in REQUIRED:
        wrong |= numbers.isna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        value = table[name].iloc[row]
        shown = "empty" if pd.isna(value) else repr(value.item() if hasattr(value, "item") else value)
        raise RequestError(f"{path}: {name} in row {row + 2} is {shown}, and must be {rule}; correct the table")
    return numbers
