"""Does the verdict stand when the analysis is done otherwise? A row for each other way, with what it says and whether it agrees.

No row can change a verdict. A row agrees if it leads to the same verdict by the same rules; a row that could not be computed says why.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.contrasts import EQUIVALENCE_ALPHA, cell_pairs, effect, judged, marginal, within
from analysis.curves import curves
from analysis.frames import RANDOM, Results
from analysis.multiplicity import holm
from analysis.q1 import confirmatory
from analysis.stats import pigeonhole_bootstrap, sign_test_p, tost_p, wilcoxon_p
from analysis.wording import count, p_text, points
from sweep.analysis_plan import Metric, Q1Plan, Q2Plan
from sweep.power import smallest_p

OTHER_MARGINS = (0.0025, 0.01)
LEFT_OUT = "one seed left out, each in turn"


def robustness(results: Results, q1: dict[str, Any], q2: dict[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    """All rows: question, other analysis, what it says, and whether it agrees (None where it could not be computed)."""
    plan = results.plan
    rows: list[dict[str, Any]] = []
    if q1["ladder"]:
        rows += _q1_rows(results, plan.q1, q1, rng)
    if q2["contrasts"][0]["n"]:
        rows += _q2_tests(q2)
        rows += _q2_rows(results, plan.q2, q2, rng)
        rows.append(_reviews_too(results, plan.q2, q2, rng))
    return rows


def _row(question: str, analysis: str, outcome: str, agrees: bool | None) -> dict[str, Any]:
    return {"question": question, "analysis": analysis, "outcome": outcome, "agrees": agrees}


def _q1_rows(results: Results, plan: Q1Plan, q1: dict[str, Any], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Other margins, the other prediction, and each seed left out in turn."""
    measured = curves(results, plan.metric)
    for margin in OTHER_MARGINS:
        if margin != plan.margin:
            other_plan = plan.model_copy(update={"margin": margin})
            yield _q1_row(f"margin of {points(margin)} points", q1, confirmatory(results, other_plan, measured, rng))
    other = _other(plan.metric)
    yield _q1_row(f"metric {other}", q1, confirmatory(results, plan.model_copy(update={"metric": other}), curves(results, other), rng))
    seeds = [int(seed) for seed in q1["ladder"][0]["differences"]]
    if smallest_p(len(seeds) - 1, two_sided=False) > plan.alpha:
        yield _row("Q1", LEFT_OUT, "not computed: with one seed less no test can reach the level", None)
    else:
        answers = [confirmatory(results, plan, measured.without(seed), rng) for seed in seeds]
        stars = sorted({answer["b_star"] or 0 for answer in answers})
        kept = sum(answer["verdict"] == q1["verdict"] for answer in answers)
        named = ", ".join(count(star) if star else "none" for star in stars)
        yield _row("Q1", LEFT_OUT, f"same verdict in {kept} of {len(seeds)}; b*: {named}", kept == len(seeds))


def _q1_row(analysis: str, q1: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    if not other["ladder"]:
        return _row("Q1", analysis, f"not computed: {other['sentence']}", None)
    star = "none" if other["b_star"] is None else count(other["b_star"])
    return _row("Q1", analysis, f"{other['verdict']}, b*: {star}", other["verdict"] == q1["verdict"])


def _other(metric: Metric) -> Metric:
    return "accuracy_mc" if metric == "accuracy_deterministic" else "accuracy_deterministic"


def _q2_tests(q2: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Other tests of the same differences, each with Holm over the same contrasts."""
    tested = [row for row in q2["contrasts"] if row["n"]]
    values = [np.array(list(row["differences"].values())) for row in tested]
    tests = {
        "paired t test": [row["p_t"] for row in tested],
        "Wilcoxon signed-rank test (zeros: Pratt)": [wilcoxon_p(differences) for differences in values],
        "sign test (zeros dropped)": [sign_test_p(differences) for differences in values],
    }
    primary = q2["contrasts"][0]
    direction = {True: "BETTER", False: "WORSE"}[primary["estimate"] > 0]
    for name, p_values in tests.items():
        if None in p_values:
            yield _row("Q2", name, "not computed: the differences of all seeds are equal, or there is one seed", None)
            continue
        adjusted = holm(p_values)[0]
        significant = adjusted <= q2["alpha"]
        outcome = f"adjusted p {p_text(adjusted)}: {'significant' if significant else 'not significant'}"
        yield _row("Q2", name, outcome, significant == (primary["verdict"] == direction))
    p_value = tost_p(values[0], q2["delta"])
    inside = p_value <= EQUIVALENCE_ALPHA
    outcome = f"p {p_text(p_value)}: {'within' if inside else 'not shown to be within'} \N{PLUS-MINUS SIGN}{points(q2['delta'])} points"
    yield _row("Q2", "equivalence by two one-sided t tests (TOST)", outcome, inside == within(primary, q2["delta"]))


def _q2_rows(results: Results, plan: Q2Plan, q2: dict[str, Any], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """The linear axis, the other prediction, and each seed left out in turn."""
    names = [(plan.mc, plan.deterministic), (plan.mc, RANDOM)]

    def rows(differences: list[pd.Series]) -> dict[str, Any]:
        effects = [effect(a, b, d, (), plan.alpha, rng) for (a, b), d in zip(names, differences, strict=True)]
        return judged(effects, plan.alpha, plan.delta)[0]

    measured = curves(results, plan.metric)
    main = [marginal(results, measured, a, b) for a, b in names]
    yield _q2_row("area over labels on a linear axis", q2, rows([marginal(results, measured, a, b, "linear") for a, b in names]))
    other = curves(results, _other(plan.metric))
    yield _q2_row(f"metric {_other(plan.metric)}", q2, rows([marginal(results, other, a, b) for a, b in names]))
    seeds = list(main[0].index)
    contrasts = sum(row["n"] > 0 for row in q2["contrasts"])
    if smallest_p(len(seeds) - 1, two_sided=True) > plan.alpha / contrasts:
        yield _row("Q2", LEFT_OUT, "not computed: with one seed less no test can reach the level", None)
    else:
        answers = [rows([d.drop(seed, errors="ignore") for d in main]) for seed in seeds]
        kept = sum(answer["verdict"] == q2["verdict"] for answer in answers)
        low, high = min(answer["estimate"] for answer in answers), max(answer["estimate"] for answer in answers)
        outcome = f"same verdict in {kept} of {len(seeds)}; estimate from {points(low, sign=True)} to {points(high, sign=True)} points"
        yield _row("Q2", LEFT_OUT, outcome, kept == len(seeds))


def _q2_row(analysis: str, q2: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    if not other["n"]:
        return _row("Q2", analysis, "not computed: not measured at two label budgets or more", None)
    interval = f"[{points(other['ci_low'], sign=True)}, {points(other['ci_high'], sign=True)}]"
    outcome = f"{other['verdict']}, {points(other['estimate'], sign=True)} points {interval}, adjusted p {p_text(other['p_adjusted'])}"
    return _row("Q2", analysis, outcome, other["verdict"] == q2["verdict"])


def _reviews_too(results: Results, plan: Q2Plan, q2: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Seeds and test reviews both resampled, at the largest budget with stored predictions: more seeds do not remove review noise."""
    analysis = "seeds and test reviews both resampled (bootstrap)"
    budgets = curves(results, "accuracy_mc").budgets
    values_SR = _review_differences(results, plan, budgets[-1]) if budgets else None
    if values_SR is None or len(values_SR) < 2:
        return _row("Q2", analysis, "not computed: fewer than two seeds have stored predictions of both arms, with test labels", None)
    low, high = pigeonhole_bootstrap(values_SR, plan.alpha, rng)
    sign = "BETTER" if low > 0 else "WORSE" if high < 0 else "neither"
    outcome = (
        f"accuracy at {count(budgets[-1])} labels: {points(float(values_SR.mean()), sign=True)} points "
        f"[{points(low, sign=True)}, {points(high, sign=True)}]"
    )
    return _row("Q2", analysis, outcome, sign == q2["verdict"] or (sign == "neither" and q2["verdict"] in ("EQUIVALENT", "INCONCLUSIVE")))


def _review_differences(results: Results, plan: Q2Plan, budget: int) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """(S, R) differences of right predictions, averaged over the cells of Q2; None if some predictions are not there."""
    mode = plan.metric.removeprefix("accuracy_")
    cells = []
    for arm, baseline in cell_pairs(results, curves(results, "accuracy_mc"), plan.mc, plan.deterministic):
        own, twin = results.correct(arm, budget, mode), results.correct(baseline, budget, mode)
        cells.append({seed: own[seed] - twin[seed] for seed in own.keys() & twin.keys()})
    seeds = set.intersection(*(set(cell) for cell in cells)) if cells else set()
    return np.array([np.mean([cell[seed] for cell in cells], axis=0) for seed in sorted(seeds)]) if seeds else None
