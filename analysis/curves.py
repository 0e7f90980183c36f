"""Learning curves as numbers: one accuracy per seed and label budget, the area under them, and the labels they take to a target.

Budgets are compared on a logarithmic axis, where a doubling counts alike wherever it happens. The area under a curve (ALC) is the
trapezoid area over log2(labels) divided by the range, so it reads as an accuracy and a perfect learner scores 1. (Dividing by one
interval too many, as some published code does, makes the score depend on the number of rounds.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.frames import Results
from sweep.arm import Arm
from trainables.arrays import Floats
from trainables.errors import RequestError
from trainables.spec import FULL_DATA

Axis = Literal["log2", "linear"]


def alc(accuracy_SB: pd.DataFrame, axis: Axis = "log2") -> pd.Series:
    """Area under each seed's curve over the range of its label budgets (the columns), as an accuracy.

    Raises:
        ValueError: fewer than two budgets.
    """
    labels_B = accuracy_SB.columns.to_numpy(dtype=np.float64)
    if len(labels_B) < 2:
        raise ValueError(f"the area under a curve needs two label budgets, not {len(labels_B)}")
    x_B = np.log2(labels_B) if axis == "log2" else labels_B
    area_S = np.trapezoid(accuracy_SB.to_numpy(dtype=np.float64), x_B, axis=1)
    return pd.Series(area_S / (x_B[-1] - x_B[0]), index=accuracy_SB.index)


def labels_to_target(accuracy_B: Floats, budgets_B: Sequence[int], target: float) -> int | None:
    """The first measured budget at which a curve is at or above a target, without interpolation; None if it never is."""
    reached = np.flatnonzero(accuracy_B >= target)
    return int(budgets_B[reached[0]]) if len(reached) else None


@dataclass(frozen=True)
class Curves:
    """All curves of one metric, over the label budgets that every arm has."""

    metric: str
    budgets: tuple[int, ...]
    """Rising; where all arms have measured the metric."""
    by_arm: dict[Arm, pd.DataFrame]
    """(seeds, budgets) of complete trajectories."""
    full_data: dict[float, pd.Series]
    """By dropout rate: the full-data model's value by seed."""

    def of(self, arm: Arm) -> pd.DataFrame:
        """An arm's curves; empty where the study has no such arm."""
        return self.by_arm[arm] if arm in self.by_arm else pd.DataFrame(columns=list(self.budgets), dtype=float)

    def alc(self, arm: Arm, axis: Axis = "log2") -> pd.Series:
        """The arm's ALC by seed; empty where there is no such arm or there are not two budgets."""
        return alc(self.of(arm), axis) if len(self.budgets) > 1 else pd.Series(dtype=float)

    def without(self, seed: int) -> "Curves":
        """The same curves as if a seed had never been there."""
        arms = {arm: table.drop(seed, errors="ignore") for arm, table in self.by_arm.items()}
        return replace(self, by_arm=arms, full_data={rate: own.drop(seed, errors="ignore") for rate, own in self.full_data.items()})

    def full(self, dropout_rate: float) -> pd.Series:
        """The full-data model's value by seed; empty where there is none."""
        return self.full_data.get(dropout_rate, pd.Series(dtype=float))


@lru_cache(maxsize=16)
def curves(results: Results, metric: str) -> Curves:
    """The curves of a metric.

    Raises:
        RequestError: the metric was measured for some seeds of an arm and not for others.
    """
    learners = results.rounds[results.rounds["acquisition"] != FULL_DATA]
    everything = learners.pivot(index=["arm", "seed"], columns="num_labelled", values=metric).astype(float)
    _refuse_patchy(everything, metric, results.place)
    by_arm = {arm: everything.loc[[str(arm)]].droplevel("arm") for arm in results.arms}
    tables = {arm: table.dropna(axis="columns", how="all").rename(index=int, columns=int) for arm, table in by_arm.items()}
    budgets = _common(table.columns for table in tables.values())
    full = results.rounds[results.rounds["acquisition"] == FULL_DATA]
    by_rate = {
        float(str(rate)): rows.set_index("seed")[metric].astype(float).dropna().rename(index=int)
        for rate, rows in full.groupby("dropout_rate")
    }
    return Curves(metric, budgets, {arm: table[list(budgets)] for arm, table in tables.items()}, by_rate)


def _refuse_patchy(everything: pd.DataFrame, metric: str, place: str) -> None:
    """A budget is measured in all seeds of an arm, or in none."""
    absent = everything.isna()
    patchy = absent.groupby(level="arm").any() & ~absent.groupby(level="arm").all()
    if patchy.to_numpy().any():
        row, column = np.argwhere(patchy.to_numpy())[0]
        arm, budget = patchy.index[row], patchy.columns[column]
        own = absent.loc[arm, budget]
        seeds = ", ".join(map(str, own.index[own]))
        raise RequestError(
            f"{place}: {metric} of {arm} at {budget:,} labels is missing for seeds {seeds} only; fill it in, or leave it out for all"
        )


def _common(columns: Iterable[Iterable[Any]]) -> tuple[int, ...]:
    sets = [set(budgets) for budgets in columns]
    return tuple(sorted(int(budget) for budget in set.intersection(*sets))) if sets else ()
