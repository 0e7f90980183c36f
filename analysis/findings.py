"""All that a report says, as one plain dictionary: what ``report.json`` holds and what the page is printed from.

The page, the tables and the figures read nothing else, so no number can be on the page that is not in the file. docs/report.md names
every key.
"""

from typing import Any

import numpy as np

from analysis.contrasts import finite
from analysis.curves import curves
from analysis.frames import Results
from analysis.provenance import plan_changes, provenance
from analysis.q1 import answer_q1
from analysis.q2 import answer_q2
from analysis.robustness import robustness
from analysis.secondary import along_the_curve, cells, cost, labels_to_reach, overlap, trends
from analysis.stats import sign_flips
from sweep.plan_view import SYNTHETIC_LABEL
from sweep.prospects import CONFIRMATORY_SEEDS, SMOKE_TEST_SEEDS
from trainables.arrays import Floats
from trainables.spec import FULL_DATA

FORMAT = 1
"""Version of the names in ``report.json``."""

RANDOM_SEED = 20170901
"""Of everything random in the analysis (flips above 16 seeds, the bootstrap): the same results give the same report, byte for byte."""

LIMITS = (
    "One data set and one model: nothing here says how another data set, language or network would come out.",
    "Labels are simulated: the known class of a review is revealed when it is asked for. People make mistakes and take time.",
    "Seeds are not data sets: the intervals are about other initial sets, weights and masks on these same reviews, "
    "not about other reviews.",
    "The sign-flip test is exact where differences are symmetric about the tested value. Exchangeable arms (Q2) make them so; for Q1 it is "
    "an assumption, and the difference of every seed is shown.",
)


def findings(results: Results) -> dict[str, Any]:
    """Everything, from the checked rounds; a new generator for each part, so that no part's numbers depend on another's."""
    plan = results.plan

    def rng() -> np.random.Generator:
        return np.random.default_rng(RANDOM_SEED)

    q1, q2 = answer_q1(results, plan.q1, rng()), answer_q2(results, plan.q2, rng())
    return {
        "format": FORMAT,
        "study": results.name,
        "source": results.source,
        "synthetic": results.is_synthetic,
        "label": SYNTHETIC_LABEL if results.is_synthetic else None,
        "interim": results.is_interim,
        "warnings": _warnings(results),
        "plan": plan.model_dump(mode="json"),
        "plan_changes": plan_changes(results),
        "q1": q1,
        "q2": q2,
        "curves": _learning_curves(results, rng()),
        "full_data": _full_data(results, rng()),
        "cells": cells(results, plan.q2, rng()),
        "along_the_curve": along_the_curve(results, plan.q2, rng()),
        "trends": trends(results, plan.q2, rng()),
        "labels_to_target": labels_to_reach(results, plan.q1),
        "cost": cost(results, plan.q2),
        "overlap": overlap(results, plan.q2, plan.q1),
        "robustness": robustness(results, q1, q2, rng()),
        "provenance": provenance(results),
        "limits": list(LIMITS),
    }


def _warnings(results: Results) -> list[str]:
    """What a reader has to know before any number."""
    found = []
    seeds = len(results.seeds)
    if results.is_interim:
        found.append(
            f"Interim: {len(results.gaps):,} of {results.planned:,} trajectories are not there. Only complete pairs are used. "
            "Looking repeatedly and stopping when something is significant is not covered by the error rates printed here."
        )
    if seeds <= SMOKE_TEST_SEEDS:
        found.append(
            f"{seeds} seed{'s' * (seeds != 1)}: a smoke test, not a study; a confirmatory study starts at {CONFIRMATORY_SEEDS} seeds."
        )
    return found


def _learning_curves(results: Results, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Per arm and label budget: seeds, mean and 95% interval of the deterministic accuracy, and the mean MC accuracy where measured."""
    mc = curves(results, "accuracy_mc")
    rows = []
    for arm, table in curves(results, "accuracy_deterministic").by_arm.items():
        mc_table = mc.of(arm)
        budgets = []
        for budget in table.columns:
            seeds = {str(seed): float(value) for seed, value in table[budget].items()}
            mc_mean = float(mc_table[budget].mean()) if budget in mc_table else None
            budgets.append({"budget": int(budget)} | _interval(table[budget].to_numpy(), rng) | {"accuracy_mc": mc_mean, "seeds": seeds})
        names = {"arm": str(arm)} | arm._asdict()
        rows.append(names | {"budgets": budgets})
    return rows


def _full_data(results: Results, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The full-data model at each dropout rate."""
    rows = results.rounds[results.rounds["acquisition"] == FULL_DATA]
    return [
        {"dropout_rate": float(str(rate)), "labels": int(own["num_labelled"].max())}
        | _interval(own["accuracy_deterministic"].to_numpy(dtype=float), rng)
        | {"seeds": {str(seed): float(value) for seed, value in zip(own["seed"], own["accuracy_deterministic"], strict=True)}}
        for rate, own in rows.groupby("dropout_rate")
    ]


def _interval(values: Floats, rng: np.random.Generator) -> dict[str, Any]:
    """Mean and 95% sign-flip interval of one number a seed."""
    flips = sign_flips(values, rng)
    limits = {"ci_low": finite(flips.lower_limit(0.025)), "ci_high": finite(flips.upper_limit(0.025))}
    return {"n": len(values), "estimate": float(values.mean())} | limits
