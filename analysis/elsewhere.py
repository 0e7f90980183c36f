"""Read a table of rounds that something else has made, so that anyone's learning curves can be tested: CSV or Parquet."""

import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.frames import RANDOM, Gap, Results, check_rounds, with_arms
from sweep.analysis_plan import AnalysisPlan, ArmChoice, default_arm, middle
from sweep.fields import did_you_mean
from trainables.acquisition import ACQUISITIONS
from trainables.errors import RequestError
from trainables.rounds import schema
from trainables.spec import FULL_DATA

REQUIRED = ("acquisition", "dropout_rate", "seed", "num_labelled", "accuracy_deterministic")
"""Columns without which there is nothing to compare; the full-data model is a row with acquisition ``full_data``."""

WHOLE = ("seed", "num_labelled", "mc_passes")
"""Columns of whole numbers; mc_passes may be empty."""


class _Rule(NamedTuple):
    """What the numbers of a column have to be."""

    low: float
    high: float
    words: str


FRACTION = _Rule(0, 1, "a fraction in [0, 1] (percent: divide by 100)")
NOT_NEGATIVE = _Rule(0, math.inf, "a finite number, 0 or more")
RULES = {
    "seed": _Rule(0, math.inf, "a whole number, 0 or more"),
    "num_labelled": _Rule(1, math.inf, "a whole number, 1 or more"),
    "mc_passes": _Rule(1, math.inf, "a whole number, 1 or more, or empty"),
    "dropout_rate": _Rule(0, math.nextafter(1, 0), "in [0, 1)"),
    "accuracy_deterministic": FRACTION,
    "accuracy_mc": FRACTION,
    **{f"{name}_{mode}": NOT_NEGATIVE for name in ("nll", "brier", "ece") for mode in ("deterministic", "mc")},
    **{f"{name}_seconds": NOT_NEGATIVE for name in ("train", "score", "evaluate")},
}
"""Columns of numbers; those that are not there were not measured."""


def read_table(path: Path) -> Results:
    """Read one table of rounds made elsewhere: CSV, or Parquet by its ending.

    Raises:
        RequestError: it cannot be read, lacks columns, or its results cannot be compared; with row and column.
    """
    rounds = with_arms(_checked_table(path))
    check_rounds(rounds, str(path))
    rounds, gaps = _complete(rounds, str(path))
    full = rounds.loc[rounds["acquisition"] == FULL_DATA, "num_labelled"]
    plan = AnalysisPlan()
    arm = _confirmatory(rounds[rounds["acquisition"] != FULL_DATA], plan)
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


def _confirmatory(learners: pd.DataFrame, plan: AnalysisPlan) -> ArmChoice | None:
    """The arm that answers Q1: the default for what is there, or, among other people's acquisition functions, the first."""
    names = list(dict.fromkeys(learners["acquisition"]))
    rates = [float(rate) for rate in learners["dropout_rate"].unique()]
    passes = [int(count) for count in learners["mc_passes"].dropna().unique()]
    arm = default_arm(plan.q2, [name for name in names if name in ACQUISITIONS], rates, passes)
    foreign = learners[~learners["acquisition"].isin([RANDOM])]
    if arm or foreign.empty:
        return arm
    own = foreign[foreign["acquisition"] == foreign["acquisition"].iloc[0]]
    rate = middle([float(value) for value in own["dropout_rate"].unique()])
    counts = [int(count) for count in own.loc[own["dropout_rate"] == rate, "mc_passes"].dropna().unique()]
    name = str(own["acquisition"].iloc[0])  # not one of ours, so it cannot be validated by name
    return ArmChoice.model_construct(acquisition=name, dropout_rate=rate, mc_passes=middle(counts) if counts else None)


def _complete(rounds: pd.DataFrame, place: str) -> tuple[pd.DataFrame, list[Gap]]:
    """A table's rounds without (arm, seed) pairs that are incomplete, and all that is missing between its arms and its seeds.

    Raises:
        RequestError: nothing is left.
    """
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
    if not any(keep):
        example = f"{gaps[0].arm}, seed {gaps[0].seed}, {gaps[0].reason}"
        raise RequestError(f"{place}: no seed of any arm has all label budgets of its arm ({example}); give all seeds of an arm the same")
    return rounds[keep].reset_index(drop=True), gaps


def _checked_table(path: Path) -> pd.DataFrame:
    """The table with all columns that the analysis reads, typed; rows are counted as in the file, the heading being row 1.

    Raises:
        RequestError: with the file, the column, the row and the remedy.
    """
    try:
        raw = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{path} cannot be read as a table ({error}); give a CSV or Parquet file of rounds, or a study's folder"
        ) from error
    absent = [name for name in REQUIRED if name not in raw]
    if absent:
        hints = "".join(did_you_mean(name, [str(column) for column in raw]).replace("did you mean", f"is {name}") for name in absent)
        raise RequestError(f"{path} lacks the columns {', '.join(absent)}; it has {', '.join(map(str, raw))}{hints}")
    if raw.empty:
        raise RequestError(f"{path} has no rows; give a table with a row a round")
    _refuse(path, raw["acquisition"], raw["acquisition"].isna(), "must be the name of an acquisition function")
    table = raw[[column.name for column in schema() if column.name in raw and column.name != "acquired"]].copy()
    for name, rule in RULES.items():
        if name in raw or not name.endswith("_seconds"):
            table[name] = _numbers(path, raw[name], rule) if name in raw else float("nan")
    for name in WHOLE:
        table[name] = table[name].astype("Int64")
    table["acquisition"] = raw["acquisition"].astype(str).str.strip()
    table["dropout_rate"] = table["dropout_rate"].round(12)
    table.loc[[not _uses_passes(name) for name in table["acquisition"]], "mc_passes"] = pd.NA
    table["trajectory_id"] = ""
    return table


def _uses_passes(acquisition: str) -> bool:
    """Whether T means something to it; what is not known here may use it."""
    return acquisition != FULL_DATA and (acquisition not in ACQUISITIONS or ACQUISITIONS[acquisition].prediction == "mc")


def _numbers(path: Path, values: pd.Series, rule: "_Rule") -> pd.Series:
    """A column as numbers that follow their rule."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = (numbers.isna() & values.notna()) | (numbers < rule.low) | (numbers > rule.high) | (numbers.abs() == float("inf"))
    if values.name in WHOLE:
        wrong |= numbers.notna() & (numbers % 1 != 0)
    if values.name in REQUIRED:
        wrong |= numbers.isna()
    _refuse(path, values, wrong, f"must be {rule.words}")
    return numbers


def _refuse(path: Path, values: pd.Series, wrong: pd.Series, rule: str) -> None:
    """Name the first value that breaks a rule."""
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        value = values.iloc[row]
        shown = "empty" if pd.isna(value) else repr(value.item() if hasattr(value, "item") else value)
        raise RequestError(f"{path}: {values.name} in row {row + 2} is {shown}, and {rule}; correct the table")
