"""Paired contrasts of arms, from differences by seed to rows of the effect table.

The replicate is the seed. Cells (acquisition x dropout rate x T) share seeds and baselines, and rounds of one trajectory are
autocorrelated, so neither is counted as a replicate: counting 10 seeds x 12 cells as 120 gave a 44% type-I error at a nominal 5%
in simulation, averaging cells within seed 4.5%. A contrast over several cells is therefore averaged *within* seed first: a marginal
effect, in which no cell is chosen for having done well. A baseline is always taken at the same dropout rate as its partner.

A row is a plain dictionary, as ``report.json`` has it; docs/report.md names its fields.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.curves import Axis, Curves
from analysis.frames import RANDOM, Results
from analysis.multiplicity import holm
from analysis.stats import paired_test
from sweep.arm import Arm
from sweep.power import mde_within_reach, seeds_for

EQUIVALENCE_ALPHA = 0.05
"""Level of the two one-sided tests of equivalence: their interval is the 90% one."""


def pairs(treatment: pd.Series, control: pd.Series) -> pd.Series:
    """Differences of the seeds that both have, in order of seed."""
    return (treatment - control).dropna().sort_index()


def cell_pairs(results: Results, curves: Curves, acquisition: str, control: str) -> list[tuple[Arm, Arm]]:
    """The cells of an acquisition function that a contrast is averaged over, each with its baseline; cells without one are left out."""
    both = [(arm, results.arm_of(Arm(control, arm.dropout_rate, None))) for arm in results.mc_arms(acquisition)]
    return [(arm, baseline) for arm, baseline in both if baseline in curves.by_arm]


def marginal(results: Results, curves: Curves, acquisition: str, control: str, axis: Axis = "log2") -> pd.Series:
    """ALC differences by seed, averaged within seed over the dropout rates and T of the study; seeds that lack a cell are left out."""
    both = cell_pairs(results, curves, acquisition, control)
    cells = [pairs(curves.alc(arm, axis), curves.alc(baseline, axis)) for arm, baseline in both]
    return pd.concat(cells, axis=1).dropna().mean(axis=1) if cells else pd.Series(dtype=float)


def effect(
    treatment: str, control: str, differences: pd.Series, seeds: Sequence[int], alpha: float, rng: np.random.Generator
) -> dict[str, Any]:
    """One row of an effect table, before it is adjusted for its family; without numbers where no pair is complete.

    Args:
        treatment: What the difference is of.
        control: What it is measured against.
        differences: By seed.
        seeds: All that should be there; those that are not in `differences` are listed as dropped.
        alpha: Of the two-sided interval.
        rng: Used above 16 seeds only.
    """
    row: dict[str, Any] = {
        "contrast": f"{treatment} - {control}",
        "treatment": treatment,
        "control": control,
        "n": len(differences),
        "dropped": [seed for seed in seeds if seed not in differences.index],
        "differences": {str(seed): float(value) for seed, value in differences.items()},
    }
    names = ("estimate", "sd", "ci_low", "ci_high", "t_low", "t_high", "dz", "p_value", "p_t")
    if not len(differences):
        return row | dict.fromkeys((*names, "ci90_low", "ci90_high"))
    test = paired_test(differences.to_numpy(), alpha, rng)
    limits = {"ci90_low": test.flips.lower_limit(EQUIVALENCE_ALPHA), "ci90_high": test.flips.upper_limit(EQUIVALENCE_ALPHA)}
    return row | {name: finite(getattr(test, name)) for name in names} | {name: finite(value) for name, value in limits.items()}


def finite(value: float) -> float | None:
    """A number, or None for what is unbounded or undefined."""
    return float(value) if math.isfinite(value) else None


def judged(rows: Sequence[dict[str, Any]], alpha: float, delta: float, adjusted: Sequence[float] | None = None) -> list[dict[str, Any]]:
    """The rows of one family with adjusted p, verdict, MDE and the seeds that delta would need; Holm unless `adjusted` is given.

    A row without pairs takes no part in the family. MDE and seeds are for the smallest level of the family, alpha over its size; where
    n is too small for any p at that level there is no MDE. An adjusted p is never below the raw one, though both may be drawn.
    """
    tested = [row for row in rows if row["n"]]
    corrected = iter(holm([row["p_value"] for row in tested]) if adjusted is None else adjusted)
    level = alpha / max(1, len(tested))
    done = []
    for row in rows:
        p_adjusted = max(next(corrected), row["p_value"]) if row["n"] else None
        sd = row["sd"]
        numbers = {
            "p_adjusted": p_adjusted,
            "verdict": _verdict(row, p_adjusted, alpha, delta),
            "mde80": finite(mde_within_reach(row["n"], level) * sd) if sd else None,
            "seeds_needed": seeds_for(delta / sd, level) if sd else None,
        }
        done.append(row | numbers)
    return done


def _verdict(row: dict[str, Any], p_adjusted: float | None, alpha: float, delta: float) -> str:
    """BETTER or WORSE if significant in the family; EQUIVALENT if not and the 90% interval lies within +-delta."""
    if p_adjusted is None:
        return "INCONCLUSIVE"
    if p_adjusted <= alpha:
        return "BETTER" if row["estimate"] > 0 else "WORSE"
    return "EQUIVALENT" if within(row, delta) else "INCONCLUSIVE"


def within(row: dict[str, Any], delta: float) -> bool:
    """Whether the 90% interval lies inside +-delta."""
    low, high = row["ci90_low"], row["ci90_high"]
    return low is not None and high is not None and -delta < low and high < delta


def per_cell(results: Results, curves: Curves, control: str) -> pd.DataFrame:
    """ALC differences (seeds, contrasts) of every cell: against `control` and random; of `control` itself, against random.

    MC arms that model no uncertainty (p = 0 or T = 1) take no part.
    Columns are (arm, baseline) pairs; only seeds that have every cell are kept, so that signs can be flipped jointly.
    """
    columns: dict[tuple[str, str], pd.Series] = {}
    for arm in results.arms:
        models_none = arm.mc_passes is not None and not arm.models_uncertainty
        for rival in () if models_none or arm.acquisition == RANDOM else (RANDOM,) if arm.acquisition == control else (control, RANDOM):
            baseline = results.arm_of(Arm(rival, arm.dropout_rate, None))
            if baseline in curves.by_arm and len(curves.budgets) > 1:
                columns[str(arm), str(baseline)] = pairs(curves.alc(arm), curves.alc(baseline))
    return pd.concat(columns, axis=1).dropna() if columns else pd.DataFrame()
