"""Q2: does modelling uncertainty (MC dropout) give a better result in active learning than not modelling it?

Two contrasts of the area under the learning curve (ALC), two-sided, Holm over the two: (i) the acquisition function on MC passes
against its twin on the same network with dropout off; (ii) against random choice. "Modelling uncertainty helps" needs (i).

Acquisition and prediction are two effects that are easily taken for one: a network predicts better with MC passes whoever chose its
labels. So the primary contrast is measured with the deterministic prediction in both arms, and the 2 x 2 of acquisition x
prediction, from the same trained networks, shows the two apart.
"""

from typing import Any

import numpy as np
import pandas as pd

from analysis.contrasts import cell_pairs, effect, judged, marginal, pairs, within
from analysis.curves import Curves, alc, curves
from analysis.frames import RANDOM, Results
from analysis.wording import points, seeds
from sweep.analysis_plan import Q2Plan

MODES = ("deterministic", "mc")
METRICS = ("accuracy", "nll", "brier", "ece")


def answer_q2(results: Results, plan: Q2Plan, rng: np.random.Generator) -> dict[str, Any]:
    """Q2's verdict with everything that it rests on."""
    measured = curves(results, plan.metric)
    found: dict[str, Any] = {
        "mc": plan.mc,
        "deterministic": plan.deterministic,
        "alpha": plan.alpha,
        "delta": plan.delta,
        "metric": plan.metric,
        "budgets": list(measured.budgets),
        "cells": [str(arm) for arm in results.mc_arms(plan.mc)],
    }
    names = [(plan.mc, plan.deterministic), (plan.mc, RANDOM)]
    rows = [
        {"cells": [str(arm) for arm, _ in cell_pairs(results, measured, a, b)]}
        | effect(a, b, marginal(results, measured, a, b), results.seeds, plan.alpha, rng)
        for a, b in names
    ]
    found["contrasts"] = judged(rows, plan.alpha, plan.delta)
    others = [name for name in dict.fromkeys(arm.acquisition for arm in results.arms if arm.models_uncertainty) if name != plan.mc]
    pairings = [(name, rival) for name in others for rival in (plan.deterministic, RANDOM)]
    secondary = [effect(a, b, marginal(results, measured, a, b), results.seeds, plan.alpha, rng) for a, b in pairings]
    found["secondary"] = judged([row for row in secondary if row["n"]], plan.alpha, plan.delta)
    found["two_by_two"] = two_by_two(results, plan, rng)
    primary = found["contrasts"][0]
    found["verdict"] = primary["verdict"]
    found["sentence"] = _sentence(found, primary) if primary["n"] else _unanswerable(found, results)
    found["would_change"] = _would_change(found, primary)
    return found


def _unanswerable(found: dict[str, Any], results: Results) -> str:
    """What is missing for any answer."""
    if not found["cells"]:
        reason = f"no trajectory of {found['mc']} with dropout and T above 1 is finished"
    elif len(found["budgets"]) < 2:
        reason = f"{found['metric']} was measured at fewer than two label budgets that all arms share"
    elif not any(arm.acquisition == found["deterministic"] for arm in results.arms):
        reason = f"no trajectory of {found['deterministic']} is finished"
    else:
        reason = f"no seed has both {found['mc']} and {found['deterministic']} finished in every cell"
    return f"Q2 cannot be answered: {reason}."


def _sentence(found: dict[str, Any], row: dict[str, Any]) -> str:
    """The verdict in plain words."""
    mc, twin, size = found["mc"], found["deterministic"], points(abs(row["estimate"]))
    small = ""
    if row["verdict"] in ("BETTER", "WORSE"):
        if within(row, found["delta"]):
            small = f" The difference is smaller than what matters ({points(found['delta'])} points)."
        side = "higher" if row["verdict"] == "BETTER" else "lower"
        helps = "helps" if row["verdict"] == "BETTER" else "hurts"
        return (
            f"Modelling uncertainty {helps} here: averaged along the learning curve, accuracy with labels chosen by {mc} (MC dropout) is "
            f"{size} points {side} than with {twin} (dropout off).{small}"
        )
    if row["verdict"] == "EQUIVALENT":
        return (
            f"Modelling uncertainty makes no difference that matters here: {mc} (MC dropout) and {twin} (dropout off) differ by less than "
            f"{points(found['delta'])} points of accuracy, averaged along the learning curve."
        )
    return (
        f"It is not shown that modelling uncertainty helps or hurts, nor that it makes no difference: {mc} (MC dropout) "
        f"less {twin} (dropout off) is {points(row['estimate'], sign=True)} points, averaged along the learning curve."
    )


def _would_change(found: dict[str, Any], row: dict[str, Any]) -> str:
    """What would change the verdict, from the numbers at hand."""
    if not row["n"]:
        return "Add what is missing, and launch again."
    if row["verdict"] == "EQUIVALENT":
        least = max(abs(row["ci90_low"]), abs(row["ci90_high"]))
        return f"With a delta of {points(least, digits=3)} points or less, equivalence would not be shown."
    if row["verdict"] == "INCONCLUSIVE":
        needed = f"{seeds(row['seeds_needed'])}" if row["seeds_needed"] else "a number of seeds that cannot be told from these differences"
        could = f"differences of {points(row['mde80'])} points or more are found with 80% power"
        if row["mde80"] is None:
            could = "no difference can be shown, however large, because no p can be small enough"
        return f"With {seeds(row['n'])}, {could}; for {points(found['delta'])} points it would take {needed}, if the spread stays as it is."
    kept = _kept_without_one(row)
    return (
        f"Leaving out any one seed, the mean difference keeps its sign in {kept} of {row['n']} cases; "
        "robustness shows which analyses agree."
    )


def _kept_without_one(row: dict[str, Any]) -> int:
    """Seeds whose removal leaves the sign of the mean as it is."""
    values = np.array(list(row["differences"].values()))
    rest = (values.sum() - values) / max(len(values) - 1, 1)
    return int((np.sign(rest) == np.sign(row["estimate"])).sum())


def two_by_two(results: Results, plan: Q2Plan, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Acquisition {mc, deterministic} x prediction {mc, deterministic} for each metric, over the budgets where both were measured.

    Each number is averaged within seed over the cells of Q2; over several budgets it is the area under the metric's curve, over one
    the value there. Effects are paired by seed and unadjusted: they describe, the primary contrast tests.
    """
    found = []
    for metric in METRICS:
        by_mode = {mode: curves(results, f"{metric}_{mode}") for mode in MODES}
        budgets = [b for b in by_mode["mc"].budgets if b in by_mode["deterministic"].budgets]
        values: dict[tuple[str, str], pd.Series] = {}
        for mode, measured in by_mode.items():
            for name in (plan.mc, plan.deterministic):
                values[name, mode] = _over_cells(results, measured, name, plan, budgets)
        table = pd.concat(values, axis=1).dropna() if budgets else pd.DataFrame()
        if len(table):
            found.append(_effects_of(metric, table, plan, budgets, results, rng))
    return found


def _over_cells(results: Results, measured: Curves, name: str, plan: Q2Plan, budgets: list[int]) -> pd.Series:
    """One acquisition's metric by seed, averaged over the cells of Q2; the twin is taken at each cell's dropout rate."""
    both = cell_pairs(results, measured, plan.mc, plan.deterministic)
    tables = [measured.of(arm if name == plan.mc else twin)[budgets] for arm, twin in both]
    if not budgets or not tables:
        return pd.Series(dtype=float)
    columns = [alc(table) if len(budgets) > 1 else table[budgets[0]] for table in tables]
    return pd.concat(columns, axis=1).dropna().mean(axis=1)


def _effects_of(
    metric: str, table: pd.DataFrame, plan: Q2Plan, budgets: list[int], results: Results, rng: np.random.Generator
) -> dict[str, Any]:
    """One metric's four means and its four simple effects."""
    mc, twin = plan.mc, plan.deterministic
    sides = {
        "acquisition effect, deterministic prediction": ((mc, "deterministic"), (twin, "deterministic")),
        "acquisition effect, MC prediction": ((mc, "mc"), (twin, "mc")),
        f"prediction effect, {mc}": ((mc, "mc"), (mc, "deterministic")),
        f"prediction effect, {twin}": ((twin, "mc"), (twin, "deterministic")),
    }
    effects = []
    for name, (a, b) in sides.items():
        row = effect(" / ".join(a), " / ".join(b), pairs(table[a], table[b]), results.seeds, plan.alpha, rng)
        effects.append({"effect": name} | row)
    means = {f"{name} / {mode}": float(table[name, mode].mean()) for name in (mc, twin) for mode in MODES}
    return {"metric": metric, "budgets": budgets, "n": len(table), "means": means, "effects": effects}
