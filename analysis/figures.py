"""The report's figures, drawn from the findings alone, and those of the two questions: curves and paired differences.

SVG for the page, SVG and PDF for a paper, and a text alternative for each.
"""

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import SETTINGS, Drawn, Sketch, described_curve, draw_curve, headline_arms, label_axis, written
from analysis.figures_secondary import cost, heat_map, labels_to_target, overlap, trends
from analysis.wording import count, number, points

WIDEST_ON_A_PHONE = 7.5
"""Inches, at ten-point type."""


def draw(found: dict[str, Any]) -> dict[str, Drawn]:
    """All figures that the findings can fill, by name."""
    sketches: dict[str, Callable[[dict[str, Any]], Sketch | None]] = {
        "q1_curves": _q1_curves,
        "all_curves": _all_curves,
        "q2_differences": _q2_differences,
        "heat_map": heat_map,
        "trends": trends,
        "labels_to_target": labels_to_target,
        "cost": cost,
        "overlap": overlap,
    }
    drawn = {}
    with matplotlib.rc_context(SETTINGS):
        for name, sketch in sketches.items():
            result = sketch(found)
            if result is not None:
                files = {kind: written(result.figure, kind) for kind in ("svg", "pdf")}
                wide = bool(result.figure.get_figwidth() > WIDEST_ON_A_PHONE)
                drawn[name] = Drawn(result.caption, result.alternative, wide, files["svg"], files["pdf"])
    return drawn


def _q1_curves(found: dict[str, Any]) -> Sketch | None:
    """Learning curves of the confirmatory arm, its twin and random, beside the full-data model with its margin."""
    wanted = {"random", found["q2"]["deterministic"]}
    arms = [c for c in headline_arms(found) if c["arm"] == found["q1"]["arm"] or c["acquisition"] in wanted]
    if not arms or not arms[0]["budgets"]:
        return None
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for arm in arms:
        draw_curve(axes, arm, seeds=True)
    described = [described_curve(arm) for arm in arms]
    full = next((row for row in found["full_data"] if row["dropout_rate"] == arms[0]["dropout_rate"]), None)
    if full:
        margin = found["q1"]["margin"]
        axes.axhline(full["estimate"], color="black", linewidth=1.2, label=f"all {count(full['labels'])} labels")
        axes.axhspan(full["estimate"] - margin, full["estimate"] + margin, color="black", alpha=0.12, linewidth=0)
        described.append(f"the model trained on all {count(full['labels'])} labels reaches {number(full['estimate'], 4)}")
    star = found["q1"]["b_star"]
    if star is not None:
        axes.axvline(star, color="#0072B2", linestyle=":", linewidth=1.2, label=f"b* = {count(star)}")
        described.append(f"b* is marked at {count(star)} labels")
    label_axis(axes, [row["budget"] for row in arms[0]["budgets"]])
    axes.set_ylabel(f"{found['q1']['metric'].replace('_', ', ')} prediction")
    axes.legend(fontsize=8)
    caption = (
        f"Learning curves at p={arms[0]['dropout_rate']:g}: mean over n seeds with 95% interval (none below six seeds), "
        f"thin lines are single seeds. The grey band is the full-data model "
        f"\N{PLUS-MINUS SIGN} the margin of {points(found['q1']['margin'])} points."
    )
    return Sketch(figure, caption, "Learning curves: " + "; ".join(described) + ".")


def _all_curves(found: dict[str, Any]) -> Sketch | None:
    """Mean curves of every acquisition function, a panel a dropout rate, at the confirmatory T."""
    rates = sorted({curve["dropout_rate"] for curve in found["curves"]})
    passes = (found["plan"]["q1"]["arm"] or {}).get("mc_passes")
    panels = {
        rate: [c for c in found["curves"] if c["dropout_rate"] == rate and c["mc_passes"] in (None, passes) and c["budgets"]]
        for rate in rates
    }
    shown = max((len(arms) for arms in panels.values()), default=0)
    if shown < 4 and len(rates) < 2:
        return None
    figure = Figure(figsize=(min(max(3.4 * len(rates) + 1.2, 6.4), 10), 3.6), layout="constrained")
    all_axes = figure.subplots(1, len(rates), sharey=True, squeeze=False)[0]
    for axes, (rate, arms) in zip(all_axes, panels.items(), strict=True):
        _panel(axes, rate, arms, found["full_data"])
    all_axes[0].set_ylabel("accuracy on the test reviews")
    handles, names = max((axes.get_legend_handles_labels() for axes in all_axes), key=lambda pair: len(pair[1]))
    figure.legend(handles, names, loc="outside upper center", ncols=4, fontsize=8)
    described = "; ".join(described_curve(arm) for arms in panels.values() for arm in arms)
    at = f" at T={passes}" if passes else ""
    return Sketch(
        figure,
        f"All acquisition functions{at}: mean over seeds with 95% interval (none below six seeds).",
        f"Learning curves of all arms: {described}.",
    )


def _panel(axes: Axes, rate: float, arms: list[dict[str, Any]], full_data: list[dict[str, Any]]) -> None:
    """The mean curves at one dropout rate, beside the full-data model."""
    for arm in arms:
        draw_curve(axes, arm | {"arm": arm["acquisition"]}, seeds=False)
    for row in full_data:
        if row["dropout_rate"] == rate:
            axes.axhline(row["estimate"], color="black", linewidth=1.2, label="all labels")
    axes.set_title(f"p={rate:g}", fontsize=10)
    if arms:
        label_axis(axes, [row["budget"] for row in arms[0]["budgets"]])
        axes.tick_params(axis="x", labelrotation=45)


def _q2_differences(found: dict[str, Any]) -> Sketch | None:
    """Per-seed paired differences of the two contrasts, with mean, interval and the band of what does not matter."""
    rows = [row for row in found["q2"]["contrasts"] if row["n"]]
    if not rows:
        return None
    figure = Figure(figsize=(6.4, 0.9 + 0.95 * len(rows)), layout="constrained")
    axes = figure.subplots()
    delta = found["q2"]["delta"] * 100
    axes.axvspan(-delta, delta, color="black", alpha=0.1, linewidth=0, label=f"\N{PLUS-MINUS SIGN}{delta:g} points (delta)")
    axes.axvline(0, color="black", linewidth=0.8)
    described = [_contrast(axes, row, position) for position, row in enumerate(reversed(rows))]
    axes.set_yticks(range(len(rows)), [row["contrast"].replace(" - ", "\n\N{MINUS SIGN} ") for row in reversed(rows)])
    axes.set_ylim(-0.5, len(rows) - 0.4)
    axes.set_xlabel("difference in ALC, points of accuracy")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    level = 1 - found["q2"]["alpha"]
    caption = (
        f"Paired differences by seed: dots are seeds, the diamond is their mean with its {level:.0%} interval (none where n is too small)."
    )
    return Sketch(figure, caption, "Paired differences. " + "; ".join(described) + ".")


def _contrast(axes: Axes, row: dict[str, Any], position: int) -> str:
    """One contrast at its height: its seeds, their mean and interval; returns it in words."""
    values = np.sort(np.array(list(row["differences"].values())) * 100)
    heights, label = np.full(len(values), position - 0.18), "one seed" if not position else None
    axes.scatter(values, heights, s=18, color="#0072B2", alpha=0.7, zorder=3, label=label)
    estimate = row["estimate"] * 100
    if row["ci_low"] is not None and row["ci_high"] is not None:
        axes.plot([row["ci_low"] * 100, row["ci_high"] * 100], [position + 0.12] * 2, color="#D55E00", linewidth=2)
    axes.plot([estimate], [position + 0.12], "D", color="#D55E00", markersize=6, label="mean and interval" if not position else None)
    return (
        f"{row['contrast']}: mean {points(row['estimate'], sign=True)} points, interval {points(row['ci_low'], sign=True)} to "
        f"{points(row['ci_high'], sign=True)}, seeds from {number(values[0])} to {number(values[-1])}"
    )
