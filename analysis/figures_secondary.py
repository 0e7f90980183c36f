"""The figures beside the two questions: dropout rate and T, labels to a target, cost, overlap."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.drawing import PAIR_STYLES, Sketch, headline_arms, label_axis, style_of
from analysis.wording import number, points


def heat_map(found: dict[str, Any]) -> Sketch | None:
    """Q2's first contrast in every cell of dropout rate x T."""
    cells = [cell for cell in found["trends"]["cells"] if cell["estimate"] is not None]
    if len(cells) < 2:
        return None
    rates, passes = sorted({c["dropout_rate"] for c in cells}), sorted({c["mc_passes"] for c in cells})
    values = {(c["dropout_rate"], c["mc_passes"]): c["estimate"] for c in cells}
    grid = np.array([[values.get((rate, t)) for t in passes] for rate in rates], dtype=float) * 100
    largest = max(float(np.nanmax(np.abs(grid))), 1e-9)
    figure = Figure(figsize=(1.6 + 1.1 * len(passes), 1.2 + 0.6 * len(rates)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(grid, cmap="PuOr_r", vmin=-largest, vmax=largest, aspect="auto")
    for (i, j), value in np.ndenumerate(grid):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.7 * largest else "black"
            axes.text(j, i, f"{value:+.2f}".replace("-", "\N{MINUS SIGN}"), ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(passes)), [str(t) for t in passes])
    axes.set_yticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_xlabel("T, number of MC passes")
    axes.set_ylabel("dropout rate p")
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label="ALC difference (points)")
    described = "; ".join(f"p={c['dropout_rate']:g}, T={c['mc_passes']}: {points(c['estimate'], sign=True)}" for c in cells)
    caption = f"Mean ALC difference {found['q2']['contrasts'][0]['contrast']} in each cell, in points. Cells share seeds and baselines."
    return Sketch(figure, caption, f"Heat map of the ALC difference in points: {described}.")


def trends(found: dict[str, Any]) -> Sketch | None:
    """The contrast over T and over the dropout rate, with intervals."""
    axes_of = {"mc_passes": "T, number of MC passes", "dropout_rate": "dropout rate p"}
    shown = {name: found["trends"][name] for name in axes_of if len(found["trends"][name]) > 1}
    if not shown:
        return None
    figure = Figure(figsize=(3.4 * len(shown) + 0.6, 3.0), layout="constrained")
    described = []
    for axes, (name, rows) in zip(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], shown.items(), strict=True):
        x, y = np.arange(len(rows)), np.array([row["estimate"] for row in rows]) * 100
        low = [y[i] - 100 * r["ci_low"] if r["ci_low"] is not None else 0.0 for i, r in enumerate(rows)]
        high = [100 * r["ci_high"] - y[i] if r["ci_high"] is not None else 0.0 for i, r in enumerate(rows)]
        axes.axhline(0, color="black", linewidth=0.8)
        axes.errorbar(x, y, yerr=[low, high], color="#0072B2", marker="o", capsize=3, linewidth=1.5)
        axes.set_xticks(x, [f"{row[name]:g}" for row in rows])
        axes.set_xlabel(axes_of[name])
        described += [f"{name}={row[name]:g}: {points(row['estimate'], sign=True)} points" for row in rows]
    figure.axes[0].set_ylabel("ALC difference (points)")
    caption = f"{found['q2']['contrasts'][0]['contrast']} at each level, averaged within seed over the other axis, with intervals."
    return Sketch(figure, caption, "ALC difference by level: " + "; ".join(described) + ".")


def labels_to_target(found: dict[str, Any]) -> Sketch | None:
    """Kaplan-Meier curves: share of seeds that have not reached the target yet."""
    acquisition = {curve["arm"]: curve["acquisition"] for curve in headline_arms(found)}
    rows = [row for row in found["labels_to_target"]["arms"] if row["arm"] in acquisition]
    if not any(row["reached"] for row in rows):
        return None
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    budgets = [row["budget"] for row in headline_arms(found)[0]["budgets"]]
    for row in rows:
        x = [budgets[0] / 1.1, *[point[0] for point in row["curve"]], budgets[-1]]
        y = [1.0, *[point[1] for point in row["curve"]], row["curve"][-1][1]]
        style = style_of(acquisition[row["arm"]]) | {"marker": None}
        axes.step(x, y, where="post", label=row["arm"], linewidth=1.8, **style)
    label_axis(axes, budgets)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("share of seeds below target")
    axes.legend(fontsize=8)
    described = "; ".join(f"{row['arm']}: {row['reached']} of {row['n']} seeds reached it" for row in rows)
    margin = points(found["labels_to_target"]["margin"])
    caption = (
        f"Labels until the full-data accuracy less {margin} points is first reached (Kaplan-Meier); what never reached it is censored."
    )
    return Sketch(figure, caption, f"Kaplan-Meier curves of labels to target: {described}.")


def cost(found: dict[str, Any]) -> Sketch | None:
    """Accuracy against labels beside accuracy against seconds of training and scoring."""
    acquisition = {curve["arm"]: curve["acquisition"] for curve in headline_arms(found)}
    rows = [row for row in found["cost"] if row["arm"] in acquisition and row["points"]]
    if not rows:
        return None
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row in rows:
        labels, seconds, values = zip(*row["points"], strict=True)
        left.plot(labels, values, **style_of(acquisition[row["arm"]]))
        right.plot(seconds, values, label=row["arm"], **style_of(acquisition[row["arm"]]))
    label_axis(left, [point[0] for point in rows[0]["points"]])
    left.tick_params(axis="x", labelrotation=45)
    left.set_ylabel("accuracy on the test reviews")
    right.set_xlabel("seconds of training and scoring")
    right.legend(fontsize=8)
    described = "; ".join(f"{row['arm']}: {number(row['points'][-1][2], 4)} after {row['seconds']:,.0f} s" for row in rows)
    caption = "The same accuracies against labels and against seconds of training and scoring (cumulated, mean over seeds)."
    return Sketch(figure, caption, f"Accuracy against cost: {described}.")


def overlap(found: dict[str, Any]) -> Sketch | None:
    """How far two arms had acquired the same reviews, after each round."""
    rows = [row for row in found["overlap"] if row["jaccard"]]
    if not rows:
        return None
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    for row, (colour, marker, line) in zip(rows, PAIR_STYLES, strict=False):
        labels, values = zip(*row["jaccard"], strict=True)
        axes.plot(labels, values, color=colour, marker=marker, linestyle=line, label=row["pair"])
    label_axis(axes, [point[0] for point in rows[0]["jaccard"]])
    axes.set_ylim(0, 1)
    axes.set_ylabel("Jaccard overlap")
    axes.legend(fontsize=8)
    described = "; ".join(f"{row['pair']}: {number(row['jaccard'][-1][1])} at the end" for row in rows)
    caption = "Overlap of all that two arms had acquired by each label budget (1: the same reviews), mean over seeds."
    return Sketch(figure, caption, f"Jaccard overlap of acquired reviews: {described}.")
