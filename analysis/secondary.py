"""Secondary and descriptive analyses: they explain a verdict and never make one.

Per-cell contrasts (step-down max-T with joint flips, Holm beside it), differences along the curve (exploratory, Benjamini-Hochberg),
trends over T and dropout rate, labels to a target accuracy with censoring, what MC passes cost in seconds, and how far two arms
acquired the same reviews, which is what explains a null result.
"""

import itertools
from typing import Any

import numpy as np
import pandas as pd

from analysis.contrasts import cell_pairs, effect, finite, judged, pairs, per_cell
from analysis.curves import Curves, curves, labels_to_target
from analysis.frames import RANDOM, Results
from analysis.multiplicity import benjamini_hochberg, holm, step_down_max_t
from analysis.stats import kaplan_meier, page_trend
from sweep.analysis_plan import Q1Plan, Q2Plan
from sweep.arm import Arm
from trainables.arrays import Floats

SECONDS = ("train_seconds", "score_seconds")
"""What a label costs in computing; evaluation is left out, since a user of active learning need not do it."""


def cells(results: Results, plan: Q2Plan, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Every cell against the twin and against random at its own dropout rate: ALC, adjusted by max-T, Holm beside it."""
    table = per_cell(results, curves(results, plan.metric), plan.deterministic)
    if table.empty:
        return []
    adjusted = step_down_max_t(table.to_numpy(), rng)
    contrasts: Any = table.columns
    rows = [effect(arm, baseline, table[arm, baseline], results.seeds, plan.alpha, rng) for arm, baseline in contrasts]
    beside = holm([row["p_value"] for row in rows])
    judged_rows = judged(rows, plan.alpha, plan.delta, adjusted)
    return [row | {"p_holm": p_holm} for row, p_holm in zip(judged_rows, beside, strict=True)]


def along_the_curve(results: Results, plan: Q2Plan, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Exploratory: Q2's first contrast at each label budget, averaged within seed over cells; Benjamini-Hochberg."""
    measured = curves(results, plan.metric)
    both = cell_pairs(results, measured, plan.mc, plan.deterministic)
    differences = [measured.of(arm) - measured.of(baseline) for arm, baseline in both]
    if not differences:
        return []
    stacked = pd.concat(differences, keys=range(len(differences)))
    complete = stacked.dropna().groupby(level=1)
    table = complete.mean()[complete.size() == len(differences)]
    if table.empty:
        return []
    rows = [
        {"budget": int(budget)} | effect(plan.mc, plan.deterministic, table[budget], results.seeds, plan.alpha, rng)
        for budget in table.columns
    ]
    adjusted = benjamini_hochberg([row["p_value"] for row in rows])
    return [row | {"p_adjusted": p} for row, p in zip(rows, adjusted, strict=True)]


def trends(results: Results, plan: Q2Plan, rng: np.random.Generator) -> dict[str, Any]:
    """How Q2's first contrast moves with T and with the dropout rate; Page's L for T, blocks = seeds."""
    measured = curves(results, plan.metric)
    if len(measured.budgets) < 2:
        return {"mc_passes": [], "dropout_rate": [], "cells": [], "page": None}
    both = cell_pairs(results, measured, plan.mc, plan.deterministic)
    by_cell = {arm: pairs(measured.alc(arm), measured.alc(baseline)) for arm, baseline in both}
    by_passes = _levels(by_cell, "mc_passes")
    return {
        "mc_passes": [_level("mc_passes", k, v, results, plan, rng) for k, v in by_passes.items() if len(v)],
        "dropout_rate": [_level("dropout_rate", k, v, results, plan, rng) for k, v in _levels(by_cell, "dropout_rate").items() if len(v)],
        "cells": [
            {"dropout_rate": arm.dropout_rate, "mc_passes": arm.mc_passes, "n": len(v), "estimate": finite(float(v.mean()))}
            for arm, v in by_cell.items()
        ],
        "page": _page(by_passes, results, plan),
    }


def _levels(by_cell: dict[Arm, pd.Series], axis: str) -> dict[float, pd.Series]:
    """Differences by seed at each level of an axis, averaged within seed over the other; seeds that lack a cell are left out."""
    levels = sorted({getattr(arm, axis) for arm in by_cell})
    chosen = {level: [v for arm, v in by_cell.items() if getattr(arm, axis) == level] for level in levels}
    return {level: pd.concat(series, axis=1).dropna().mean(axis=1) for level, series in chosen.items()}


def _level(axis: str, level: float, differences: pd.Series, results: Results, plan: Q2Plan, rng: np.random.Generator) -> dict[str, Any]:
    return {axis: level} | effect(plan.mc, plan.deterministic, differences, results.seeds, plan.alpha, rng)


def _page(by_passes: dict[float, pd.Series], results: Results, plan: Q2Plan) -> dict[str, Any] | None:
    """Page's trend test of ALC over rising T; None below three levels or two seeds."""
    table = pd.concat(by_passes, axis=1).dropna() if by_passes else pd.DataFrame()
    if len(table.columns) < 3 or len(table) < 2:
        return None
    statistic, p_value = page_trend(table.to_numpy())
    return {"statistic": statistic, "p_value": p_value, "n": len(table), "levels": [int(level) for level in table.columns]}


def labels_to_reach(results: Results, plan: Q1Plan, target: float | None = None) -> dict[str, Any]:
    """Labels until an arm first reaches a target, censored where it never does.

    The target is the full-data accuracy of the same seed less the margin, or, where one is given, an accuracy for all seeds.

    The saving against random is the ratio of labels (random over arm), by seed: a lower bound where random is censored, an upper
    bound where the arm is, unknown where both are.
    """
    measured = curves(results, plan.metric)
    reached = {arm: _reached(measured, arm, _targets(measured, arm, plan.margin, target)) for arm in results.arms}
    rows = []
    for arm, by_seed in reached.items():
        if by_seed:
            last, random = measured.budgets[-1], reached.get(Arm(RANDOM, arm.dropout_rate, None), {})
            saving = _saving(by_seed, random, last) if arm.acquisition != RANDOM else None
            rows.append({"arm": str(arm)} | _survival(by_seed, last) | {"saving": saving})
    return {"margin": plan.margin, "largest_budget": measured.budgets[-1] if measured.budgets else None, "arms": rows}


def _targets(measured: Curves, arm: Arm, margin: float, target: float | None) -> pd.Series:
    """What an arm has to reach, by seed."""
    return measured.full(arm.dropout_rate) - margin if target is None else pd.Series(target, index=measured.of(arm).index, dtype=float)


def _reached(measured: Curves, arm: Arm, target_S: pd.Series) -> dict[int, int | None]:
    """By seed, labels at which the target was first reached; None where it was not."""
    table = measured.of(arm)
    seeds = list(table.index.intersection(target_S.index)) if measured.budgets else []
    return {int(seed): labels_to_target(table.loc[seed].to_numpy(), measured.budgets, float(target_S[seed])) for seed in seeds}


def _survival(by_seed: dict[int, int | None], last: int) -> dict[str, Any]:
    """An arm's seeds as a Kaplan-Meier curve over labels; those that never reached the target are censored at the last budget."""
    times = np.array([labels if labels is not None else last for labels in by_seed.values()], dtype=np.float64)
    censored = [labels is None for labels in by_seed.values()]
    curve = kaplan_meier(times, censored)
    return {
        "n": len(by_seed),
        "reached": sum(not is_censored for is_censored in censored),
        "median": finite(curve.median),
        "labels": {str(seed): labels for seed, labels in by_seed.items()},
        "curve": [[int(t), float(s)] for t, s in zip(curve.times, curve.survival, strict=True)],
    }


def _saving(own: dict[int, int | None], random: dict[int, int | None], last: int) -> dict[str, Any]:
    """Ratios of labels by seed, each with what it is (``=``, ``>=``, ``<=`` or ``unknown``), and their median."""
    ratios = {str(seed): _ratio(own[seed], random[seed], last) for seed in sorted(own.keys() & random.keys())}
    return {"ratios": ratios, "median": _bounded_median(list(ratios.values()))}


def _ratio(mine: int | None, theirs: int | None, last: int) -> dict[str, Any]:
    """Labels of random over labels of the arm; None is censored at the last budget."""
    if mine is None and theirs is None:
        return {"ratio": None, "bound": "unknown"}
    return {"ratio": (theirs or last) / (mine or last), "bound": ">=" if theirs is None else "<=" if mine is None else "="}


def _bounded_median(ratios: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of ratios some of which are bounds: exact where the smallest and the largest values that are possible agree on it."""
    if not ratios:
        return {"ratio": None, "bound": "unknown"}
    smallest = np.median([r["ratio"] if r["bound"] in ("=", ">=") else 0.0 for r in ratios])
    largest = np.median([r["ratio"] if r["bound"] in ("=", "<=") else np.inf for r in ratios])
    if smallest == largest:
        return {"ratio": float(smallest), "bound": "="}
    if smallest > 0:
        return {"ratio": float(smallest), "bound": ">="}
    return {"ratio": float(largest), "bound": "<="} if np.isfinite(largest) else {"ratio": None, "bound": "unknown"}


def cost(results: Results, plan: Q2Plan) -> list[dict[str, Any]]:
    """Accuracy against seconds of training and scoring, cumulated along the trajectory, mean over seeds; empty if not measured."""
    if not set(SECONDS) <= set(results.rounds.columns):
        return []
    rows = []
    for arm in results.arms:
        own = results.rounds[results.rounds["arm"] == str(arm)].sort_values(["seed", "num_labelled"])
        spent = own[list(SECONDS)].sum(axis=1).groupby(own["seed"]).cumsum()
        table = own.assign(spent=spent).groupby("num_labelled").agg(seconds=("spent", "mean"), value=(plan.metric, "mean")).dropna()
        points = [[int(str(b)), float(row["seconds"]), float(row["value"])] for b, row in table.iterrows()]
        rows.append({"arm": str(arm), "seconds": points[-1][1] if points else None, "points": points})
    return rows


def overlap(results: Results, plan: Q2Plan, q1: Q1Plan) -> list[dict[str, Any]]:
    """Mean Jaccard overlap over seeds of all that two arms had acquired after each round: the MC arm, its twin, and random."""
    candidates = [results.arm_of(q1.arm)] if q1.arm else []
    mc = next((arm for arm in [*candidates, *results.mc_arms(plan.mc)] if arm in results.mc_arms(plan.mc)), None)
    if mc is None:
        return []
    others = [results.arm_of(Arm(name, mc.dropout_rate, None)) for name in (plan.deterministic, RANDOM)]
    arms = [mc, *[arm for arm in others if arm in results.arms]]
    chosen = {arm: results.acquired(arm) for arm in arms}
    budgets = sorted(int(b) for b in results.rounds.loc[results.rounds["arm"] == str(mc), "num_labelled"].unique())
    rows = []
    for one, other in itertools.combinations(arms, 2):
        seeds = sorted(chosen[one].keys() & chosen[other].keys())
        if seeds:
            per_seed = np.array([_jaccard(chosen[one][seed], chosen[other][seed]) for seed in seeds])
            jaccard = [[budget, float(value)] for budget, value in zip(budgets[1:], per_seed.mean(axis=0), strict=True)]
            rows.append({"pair": f"{one} / {other}", "n": len(seeds), "jaccard": jaccard})
    return rows


def _jaccard(one: list[Any], other: list[Any]) -> Floats:
    """Overlap of two arms' acquisitions after each round but the last, which acquires nothing."""
    values = []
    mine: set[int] = set()
    theirs: set[int] = set()
    for a, b in zip(one[:-1], other[:-1], strict=True):
        mine |= set(a)
        theirs |= set(b)
        values.append(len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0)
    return np.array(values)
