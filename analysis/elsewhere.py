"""Read a table of rounds that something else has made, so that anyone's learning curves can be tested: CSV or Parquet."""

from pathlib import Path

import pandas as pd

from analysis.frames import Gap, Results, check_rounds, with_arms
from sweep.analysis_plan import AnalysisPlan, default_arm
from sweep.fields import did_you_mean
from trainables.acquisition import ACQUISITIONS
from trainables.errors import RequestError
from trainables.spec import FULL_DATA

REQUIRED = ("acquisition", "dropout_rate", "seed", "num_labelled", "accuracy_deterministic")
"""Columns without which there is nothing to compare; the full-data model is a row with acquisition ``full_data``."""

WHOLE = ("seed", "num_labelled", "mc_passes")
"""Columns of whole numbers; mc_passes may be empty."""

MEASURED = tuple(f"{name}_{mode}" for name in ("accuracy", "nll", "brier", "ece") for mode in ("deterministic", "mc"))
"""Columns of metrics; those that are not there were not measured."""


def read_table(path: Path) -> Results:
    """Read one table of rounds made elsewhere: CSV, or Parquet by its ending.

    Raises:
        RequestError: it cannot be read, lacks columns, or its results cannot be compared; with row and column.
    """
    rounds = with_arms(_checked_table(path))
    check_rounds(rounds, str(path))
    rounds, gaps = _complete(rounds)
    full = rounds.loc[rounds["acquisition"] == FULL_DATA, "num_labelled"]
    learners = rounds[rounds["acquisition"] != FULL_DATA]
    acquisitions = list(dict.fromkeys(learners["acquisition"]))
    passes = [int(count) for count in learners["mc_passes"].dropna().unique()]
    plan = AnalysisPlan()
    known = [name for name in acquisitions if name in ACQUISITIONS]
    arm = default_arm(plan.q2, known, [float(rate) for rate in learners["dropout_rate"].unique()], passes)
    return Results(
        name=path.stem,
        source="table",
        place=str(path),
        rounds=rounds,
        plan=plan.model_copy(update={"q1": plan.q1.model_copy(update={"arm": arm})}),
        gaps=tuple(gaps),
        planned=len(rounds.drop_duplicates(["arm", "seed"])) + len(gaps),
        all_labels=None if full.empty else int(full.max()),
        seeds=tuple(sorted(int(seed) for seed in rounds["seed"].unique())),
        cell_arms={},
    )


def _complete(rounds: pd.DataFrame) -> tuple[pd.DataFrame, list[Gap]]:
    """A table's rounds without (arm, seed) pairs that are incomplete, and all that is missing between its arms and its seeds."""
    counts = rounds.groupby(["arm", "seed"]).size()
    expected = rounds.groupby("arm")["num_labelled"].nunique()
    gaps = [
        Gap(
            arm,
            int(seed),
            None,
            f"has {counts.get((arm, seed), 0)} of {expected[arm]} label budgets" if (arm, seed) in counts else "missing",
        )
        for arm in expected.index
        for seed in sorted(rounds["seed"].unique())
        if counts.get((arm, seed), 0) < expected[arm]
    ]
    incomplete = {(gap.arm, gap.seed) for gap in gaps}
    keep = [pair not in incomplete for pair in zip(rounds["arm"], rounds["seed"], strict=True)]
    return rounds[keep].reset_index(drop=True), gaps


def _checked_table(path: Path) -> pd.DataFrame:
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
