"""Q1: can active learning reach the accuracy of the full-data model with fewer labels?

A plain test of "no difference" cannot answer this: too few seeds would always say yes. The question is one of **non-inferiority**:
at a budget b the arm reaches the full-data model if its mean accuracy is shown to be no more than `margin` below it, at one-sided
alpha. Budgets are tested from the largest down and testing stops at the first failure (a fixed sequence, Maurer et al. 1995), which
controls the family-wise error without correction; b* is the last success, and a smaller budget that would pass below a failure is
not claimed.

Non-inferiority alone would also be shown by a margin that means nothing, so three gates stand beside it: random choice must be shown
inferior at the smallest budget (assay sensitivity, ICH E10), the arm must beat random at b* (Holm over the whole ladder, because b*
is chosen by the data), and where the ladder reaches all labels, both models must agree there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.contrasts import finite, pairs
from analysis.curves import Curves, curves
from analysis.frames import RANDOM, Results
from analysis.multiplicity import fixed_sequence, holm, holm_over_sequences
from analysis.q1_wording import sentence, would_change
from analysis.stats import sign_flips
from sweep.analysis_plan import Q1Plan
from sweep.arm import Arm
from sweep.power import mde_within_reach


def answer_q1(results: Results, plan: Q1Plan, rng: np.random.Generator) -> dict[str, Any]:
    """Q1's verdict with everything that it rests on, and what the other arms' own ladders show."""
    measured = curves(results, plan.metric)
    return confirmatory(results, plan, measured, rng) | {"cells": _cells(results, plan, measured, rng)}


def confirmatory(results: Results, plan: Q1Plan, measured: Curves, rng: np.random.Generator) -> dict[str, Any]:
    """The confirmatory arm's ladder, its gates and the verdict, from these curves."""
    arm = results.arm_of(plan.arm) if plan.arm else None
    found = _nothing_found(results, plan, arm)
    reason = "no arm but random is there to be compared" if arm is None else _unanswerable(arm, measured)
    if reason or arm is None:
        return found | {
            "verdict": "INCONCLUSIVE",
            "sentence": f"Q1 cannot be answered: {reason}.",
            "would_change": "Add what is missing, and launch again.",
        }
    evidence = _evidence(measured, arm)
    ladder = _ladder(evidence.arm, plan, rng)
    passed = [row for row in ladder if row["status"] == "passed"]
    found |= {
        "n": len(evidence.arm),
        "dropped": [seed for seed in results.seeds if seed not in evidence.arm.index],
        "ladder": ladder,
        "b_star": min((row["budget"] for row in passed), default=None),
    }
    if found["b_star"] is not None and results.all_labels:
        found["saving"] = 1 - found["b_star"] / results.all_labels
    found["gates"] = _gates(evidence, results.all_labels, plan, rng)
    found["verdict"] = _verdict(found)
    found["sentence"] = sentence(found)
    found["would_change"] = would_change(found)
    return found


def _nothing_found(results: Results, plan: Q1Plan, arm: Arm | None) -> dict[str, Any]:
    """What was asked, without an answer."""
    return {
        "arm": str(arm) if arm else None,
        "margin": plan.margin,
        "alpha": plan.alpha,
        "metric": plan.metric,
        "all_labels": results.all_labels,
        "b_star": None,
        "saving": None,
        "n": 0,
        "dropped": list(results.seeds),
        "ladder": [],
        "gates": {"assay_sensitivity": None, "beats_random": None, "closure": None},
    }


def _unanswerable(arm: Arm, measured: Curves) -> str | None:
    """What is missing for any answer at all."""
    if arm not in measured.by_arm:
        return f"no trajectory of the confirmatory arm {arm} is finished"
    if not measured.budgets:
        return f"{measured.metric} was measured at no label budget that all arms share"
    if measured.full(arm.dropout_rate).empty:
        return f"there is no full-data model at p={arm.dropout_rate:g} to compare with"
    if not len(pairs(measured.of(arm)[measured.budgets[-1]], measured.full(arm.dropout_rate))):
        return f"no seed has both {arm} and the full-data model finished"
    return None


@dataclass(frozen=True)
class _Evidence:
    """Differences (seeds, budgets) that Q1 rests on, of complete pairs."""

    arm: pd.DataFrame
    """Arm less full-data model."""
    random: pd.DataFrame
    """Random choice less full-data model."""
    over_random: pd.DataFrame
    """Arm less random choice."""


def _evidence(measured: Curves, arm: Arm) -> _Evidence:
    full = measured.full(arm.dropout_rate)
    own, random = measured.of(arm), measured.of(Arm(RANDOM, arm.dropout_rate, None))
    return _Evidence(
        arm=own.sub(full, axis=0).dropna().sort_index(),
        random=random.sub(full, axis=0).dropna().sort_index(),
        over_random=(own - random).dropna().sort_index(),
    )


def _ladder(differences_SB: pd.DataFrame, plan: Q1Plan, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A row a budget, the largest first: estimate, limits, p where it was tested, and whether it passed."""
    flips = {budget: sign_flips(differences_SB[budget].to_numpy(), rng) for budget in sorted(differences_SB.columns, reverse=True)}
    p_values = [flip.p_greater(-plan.margin) for flip in flips.values()]
    passed = fixed_sequence(p_values, plan.alpha)
    rows = []
    for position, (budget, flip) in enumerate(flips.items()):
        tested = position <= passed
        rows.append(
            {
                "budget": int(budget),
                "n": len(differences_SB),
                "estimate": float(differences_SB[budget].mean()),
                "sd": finite(float(differences_SB[budget].std())),
                "lower": finite(flip.lower_limit(plan.alpha)),
                "upper": finite(flip.upper_limit(plan.alpha)),
                "p_value": p_values[position] if tested else None,
                "status": "not tested" if not tested else "passed" if position < passed else "failed",
                "differences": {str(seed): float(value) for seed, value in differences_SB[budget].items()},
            }
        )
    return rows


def _gates(evidence: _Evidence, all_labels: int | None, plan: Q1Plan, rng: np.random.Generator) -> dict[str, Any]:
    """The three gates; None for one that cannot be examined."""
    return {
        "assay_sensitivity": _assay_sensitivity(evidence.random, plan, rng),
        "beats_random": _beats_random(evidence, plan, rng),
        "closure": _closure(evidence.arm, all_labels, plan, rng),
    }


def _assay_sensitivity(random_SB: pd.DataFrame, plan: Q1Plan, rng: np.random.Generator) -> dict[str, Any] | None:
    """Gate 1: at the smallest budget random choice is shown inferior, so that the margin can tell models apart. None: no random arm."""
    if random_SB.empty:
        return None
    smallest = min(random_SB.columns)
    differences = random_SB[smallest].to_numpy()
    flip = sign_flips(differences, rng)
    return {
        "holds": flip.p_less(-plan.margin) <= plan.alpha,
        "budget": int(smallest),
        "n": len(differences),
        "estimate": float(differences.mean()),
        "upper": finite(flip.upper_limit(plan.alpha)),
        "p_value": flip.p_less(-plan.margin),
        "random_reaches": _reached(random_SB, plan, rng),
    }


def _reached(differences_SB: pd.DataFrame, plan: Q1Plan, rng: np.random.Generator) -> list[int]:
    """The budgets, from the largest down to the first failure, at which a fixed sequence shows non-inferiority."""
    budgets = sorted((int(budget) for budget in differences_SB.columns), reverse=True)
    p_values = [sign_flips(differences_SB[budget].to_numpy(), rng).p_greater(-plan.margin) for budget in budgets]
    return budgets[: fixed_sequence(p_values, plan.alpha)]


def _beats_random(evidence: _Evidence, plan: Q1Plan, rng: np.random.Generator) -> dict[str, Any] | None:
    """Gate 2: the arm against random at every budget, one-sided, Holm over the ladder. None: no random arm."""
    differences_SB = evidence.over_random
    if differences_SB.empty:
        return None
    budgets = sorted(differences_SB.columns, reverse=True)
    flips = [sign_flips(differences_SB[budget].to_numpy(), rng) for budget in budgets]
    adjusted = holm([flip.p_greater() for flip in flips])
    level = plan.alpha / len(budgets)
    rows = []
    for budget, flip, p_adjusted in zip(budgets, flips, adjusted, strict=True):
        sd = finite(float(differences_SB[budget].std()))
        rows.append(
            {
                "budget": int(budget),
                "n": len(differences_SB),
                "estimate": float(differences_SB[budget].mean()),
                "lower": finite(flip.lower_limit(plan.alpha)),
                "upper": finite(flip.upper_limit(plan.alpha)),
                "p_value": flip.p_greater(),
                "p_adjusted": p_adjusted,
                "better": p_adjusted <= plan.alpha,
                "mde80": finite(mde_within_reach(len(differences_SB), level, two_sided=False) * sd) if sd else None,
            }
        )
    return {"better_at": [row["budget"] for row in rows if row["better"]], "rows": rows}


def _closure(arm_SB: pd.DataFrame, all_labels: int | None, plan: Q1Plan, rng: np.random.Generator) -> dict[str, Any] | None:
    """Gate 3: with all labels acquired, arm and full-data model must agree around 0. None: the ladder does not reach all labels.

    It holds if the interval lies within the margin, fails if 0 lies outside of it, and is not shown (None) where neither is so.
    """
    if all_labels not in arm_SB.columns:
        return None
    differences = arm_SB[all_labels].to_numpy()
    flip = sign_flips(differences, rng)
    low, high = flip.lower_limit(plan.alpha), flip.upper_limit(plan.alpha)
    within, without = -plan.margin < low and high < plan.margin, not low <= 0 <= high
    holds = True if within else False if without else None
    return {"holds": holds, "n": len(differences), "estimate": float(differences.mean()), "lower": finite(low), "upper": finite(high)}


def _verdict(found: dict[str, Any]) -> str:
    """YES, YES_WITHOUT_ACTIVE_LEARNING, NO or INCONCLUSIVE."""
    b_star, gates = found["b_star"], found["gates"]
    sensitive = bool(gates["assay_sensitivity"] and gates["assay_sensitivity"]["holds"])
    if found["saving"] is not None and found["saving"] > 0 and sensitive:
        better = gates["beats_random"] is not None and b_star in gates["beats_random"]["better_at"]
        return "YES" if better else "YES_WITHOUT_ACTIVE_LEARNING"
    if all(row["upper"] is not None and row["upper"] < -found["margin"] for row in found["ladder"]):
        return "NO"
    return "INCONCLUSIVE"


def _cells(results: Results, plan: Q1Plan, measured: Curves, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Every cell's own fixed sequence, Holm over the cells."""
    budgets = sorted(measured.budgets, reverse=True)
    arms, sequences, seeds = [], [], []
    for arm in results.arms:
        differences_SB = measured.of(arm).sub(measured.full(arm.dropout_rate), axis=0).dropna()
        if arm.acquisition != RANDOM and len(differences_SB):
            arms.append(arm)
            seeds.append(len(differences_SB))
            sequences.append([sign_flips(differences_SB[b].to_numpy(), rng).p_greater(-plan.margin) for b in budgets])
    outcomes = holm_over_sequences(sequences, plan.alpha)
    return [
        {"arm": str(arm), "n": n, "b_star": budgets[passed - 1] if passed else None, "alpha": level}
        for arm, n, (passed, level) in zip(arms, seeds, outcomes, strict=True)
    ]
