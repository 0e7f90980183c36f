"""Q1's verdict in plain words, from the numbers that it rests on."""

from typing import Any

from analysis.wording import count, percent, points, seeds
from sweep.power import seeds_for, smallest_p


def sentence(found: dict[str, Any]) -> str:
    """The verdict in plain words."""
    b_star, margin, arm = found["b_star"], points(found["margin"]), found["arm"]
    if found["verdict"] == "NO":
        return (
            f"At every budget up to {count(found['ladder'][0]['budget'])} labels, {arm} is shown to be more than {margin} points "
            f"less accurate than the same model trained on all {count(found['all_labels'])} labels."
        )
    if found["verdict"] == "INCONCLUSIVE":
        return f"It is not shown that {arm} reaches the model trained on all labels with fewer: {_why_inconclusive(found)}."
    reached = (
        f"{count(b_star)} labels, {percent(found['saving'])} fewer than all {count(found['all_labels'])}, are shown to be enough "
        f"for an accuracy no more than {margin} points below that of the same model trained on all labels"
    )
    if found["verdict"] == "YES":
        return f"Chosen by {arm}, {reached}; random choice of as many labels is shown to be less accurate."
    if b_star in found["gates"]["assay_sensitivity"]["random_reaches"]:
        return (
            f"{reached}. Fewer labels suffice; active learning is not needed: random choice reaches the margin there too, "
            f"and {arm} is not shown to be better."
        )
    return f"Chosen by {arm}, {reached}; but {_not_better(found)}, so the saving cannot be put down to active learning."


def _not_better(found: dict[str, Any]) -> str:
    """Why gate 2 does not hold at b*: nothing to compare with, too few seeds for so many budgets, or a difference that is too small."""
    gate = found["gates"]["beats_random"]
    if gate is None:
        return "there is no complete pair with random choice"
    row = next(row for row in gate["rows"] if row["budget"] == found["b_star"])
    shown = f"{found['arm']} is not shown to be better than random choice there ({points(row['estimate'], sign=True)} points)"
    if smallest_p(row["n"], two_sided=False) > found["alpha"] / len(gate["rows"]):
        return f"{shown}, which {seeds(row['n'])} can never show over {len(gate['rows'])} budgets"
    return shown


def _why_inconclusive(found: dict[str, Any]) -> str:
    """The reason that comes first."""
    margin, top, gate = points(found["margin"]), found["ladder"][0], found["gates"]["assay_sensitivity"]
    if smallest_p(found["n"], two_sided=False) > found["alpha"]:
        return f"with {seeds(found['n'])} no test can reach the level {found['alpha']:g}"
    if found["b_star"] is None:
        return (
            f"at the largest budget, {count(top['budget'])} labels, it is {points(top['estimate'], sign=True)} points from that model, "
            f"with a lower limit of {points(top['lower'], sign=True)}, which is not above {points(-found['margin'], sign=True)}"
        )
    if found["saving"] is None:
        return "the number of all labels is not known"
    if found["saving"] <= 0:
        return "only with all labels is it shown to be within the margin"
    if gate is None:
        return "there is no random arm to show that the margin can tell models apart"
    return (
        f"even random choice of {count(gate['budget'])} labels is not shown to be more than {margin} points worse (upper limit "
        f"{points(gate['upper'], sign=True)}), so being within the margin proves nothing here"
    )


def would_change(found: dict[str, Any]) -> str:
    """What would change the verdict, from the numbers at hand."""
    if found["verdict"] in ("YES", "YES_WITHOUT_ACTIVE_LEARNING"):
        return _margin_range(found)
    top = found["ladder"][0]
    shortfall = top["estimate"] + found["margin"]
    if shortfall <= 0:
        return (
            f"The estimate at the largest budget ({points(top['estimate'], sign=True)} points) lies beyond the margin itself: "
            "larger label budgets, which were not tried, could change the verdict; more seeds alone would not."
        )
    needed = seeds_for(shortfall / top["sd"], found["alpha"], two_sided=False) if top["sd"] else None
    if found["b_star"] is None and needed and needed > found["n"]:
        return (
            f"If the estimate and the spread at {count(top['budget'])} labels stay as they are, "
            f"about {needed:,} seeds would show it (80% power)."
        )
    if found["gates"]["assay_sensitivity"] is None:
        return "A random arm at the same dropout rate, to show what the margin can tell apart, could change the verdict."
    if found["saving"] == 0:
        return "More seeds could show smaller label budgets to be enough; larger ones are all labels."
    return "Smaller label budgets at the start, where random choice is clearly worse, or more seeds, could change the verdict."


def _margin_range(found: dict[str, Any]) -> str:
    """The margins under which b* would stand: every budget from it up has to pass, and random choice has to fail at the start."""
    least = max(-row["lower"] for row in found["ladder"] if row["budget"] >= found["b_star"])
    most = -found["gates"]["assay_sensitivity"]["upper"]
    labels = f"{count(found['b_star'])} labels"
    low = f"with a margin of {points(least)} points or less, {labels} would not be shown to be enough" if least > 0 else ""
    high = f"with one of {points(most)} points or more, the margin could not tell {labels} from random choice at the start of the ladder"
    if low:
        return f"{low[0].upper()}{low[1:]}; {high}."
    return f"No smaller margin would: from {labels} on, the arm is shown to be no worse at all; {high}."
