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
from analysis.wording import count, seeds
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
        "warnings": _warnings(results, q1, q2),
        "plan": plan.model_dump(mode="json"),
        "plan_changes": plan_changes(results),
        "q1": q1,
        "q2": q2,
        "curves": learning_curves(results, plan.q1.metric, rng()),
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


def _warnings(results: Results, q1: dict[str, Any], q2: dict[str, Any]) -> list[str]:
    """What a reader has to know before any number."""
    found = []
    if results.is_interim:
        first, last = "Incomplete", ""
        if results.folder is not None:
            first = "Interim"
            last = " Looking repeatedly and stopping when something is significant is not covered by the error rates printed here."
        gaps = f"{len(results.gaps):,} of {results.planned:,} trajectories are not there"
        found.append(f"{first}: {gaps}. Only complete pairs are used.{last}")
    absent = sorted({gap.arm for gap in results.gaps} - set(results.rounds["arm"]))
    if absent:
        found.append(f"No trajectory is finished of {', '.join(absent)}; nothing is averaged over what is not there.")
    pairs = [answer["n"] for answer in (q1, q2["contrasts"][0]) if answer["n"]]
    fewest = min([*pairs, len(results.seeds)])
    if fewest <= SMOKE_TEST_SEEDS:
        smoke = f"{seeds(fewest)} with complete pairs: a smoke test, not a study"
        found.append(f"{smoke}; a confirmatory study starts at {CONFIRMATORY_SEEDS} seeds.")
    twinless = [cell for cell in q2["cells"] if cell not in q2["contrasts"][0]["cells"]]
    if twinless and q2["contrasts"][0]["n"]:
        found.append(f"Q2 is not averaged over {', '.join(twinless)}: there is no {q2['deterministic']} at that dropout rate.")
    return found + _uncommon_budgets(results)


def _uncommon_budgets(results: Results) -> list[str]:
    """Label budgets that are left out of every curve because an arm lacks them."""
    common = curves(results, "accuracy_deterministic").budgets
    learners = results.rounds[results.rounds["acquisition"] != FULL_DATA]
    everywhere = {int(budget) for budget in learners["num_labelled"].unique()}
    left_out = sorted(everywhere - set(common))
    if not left_out:
        return []
    lacking = [arm for arm, own in learners.groupby("arm")["num_labelled"] if not everywhere <= set(own)]
    named = ", ".join(count(budget) for budget in left_out)
    return [f"Label budgets that not every arm has are left out of all curves: {named}; lacking in {', '.join(map(str, lacking))}."]


def learning_curves(results: Results, metric: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Per arm and label budget: seeds, mean and 95% interval of a metric, and the mean MC accuracy where measured."""
    mc = curves(results, "accuracy_mc")
    rows = []
    for arm, table in curves(results, metric).by_arm.items():
        mc_table = mc.of(arm)
        budgets = []
        for budget in table.columns:
            by_seed = {str(seed): float(value) for seed, value in table[budget].items()}
            mc_mean = float(mc_table[budget].mean()) if budget in mc_table else None
            budgets.append({"budget": int(budget)} | _interval(table[budget].to_numpy(), rng) | {"accuracy_mc": mc_mean, "seeds": by_seed})
        names = {"arm": str(arm)} | arm._asdict()
        rows.append(names | {"budgets": budgets})
    return [row for row in rows if row["budgets"]]


def _full_data(results: Results, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The full-data model at each dropout rate, by Q1's metric."""
    measured = curves(results, results.plan.q1.metric).full_data
    return [
        {"dropout_rate": rate, "labels": results.all_labels}
        | _interval(own.to_numpy(), rng)
        | {"seeds": {str(seed): float(value) for seed, value in own.items()}}
        for rate, own in measured.items()
        if len(own)
    ]


def _interval(values: Floats, rng: np.random.Generator) -> dict[str, Any]:
    """Mean and 95% sign-flip interval of one number a seed."""
    flips = sign_flips(values, rng)
    limits = {"ci_low": finite(flips.lower_limit(0.025)), "ci_high": finite(flips.upper_limit(0.025))}
    return {"n": len(values), "estimate": float(values.mean())} | limits
