"""How the report's figures are drawn: colours, markers, axes of label budgets, and files that are the same for the same findings.

Colours are Okabe & Ito's (2008), which most colour-blind readers can tell apart; marker and line style say the same again.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.wording import count, number

STYLES = {
    "random": ("#555555", "s", ":"),
    "softmax_entropy": ("#E69F00", "^", "--"),
    "entropy": ("#0072B2", "o", "-"),
    "bald": ("#009E73", "D", "-."),
    "mean_std": ("#CC79A7", "v", "--"),
    "variation_ratio": ("#D55E00", "P", "-."),
    "margin": ("#56B4E9", "<", "-"),
    "least_confidence": ("#B8A800", ">", "-"),
    "softmax_margin": ("#56B4E9", "<", "--"),
    "softmax_least_confidence": ("#B8A800", ">", "--"),
    "power_bald": ("#009E73", "*", ":"),
    "batch_bald": ("#000000", "D", "-"),
    "epig": ("#CC79A7", "X", "-"),
    "k_center": ("#D55E00", "h", "--"),
    "badge": ("#0072B2", "d", "--"),
}
"""Colour, marker and line of an acquisition function."""

OTHER_STYLES = [
    ("#56B4E9", "1", "-."), ("#000000", "2", "--"), ("#B8A800", "3", "-."), ("#CC79A7", "4", ":"),
    ("#E69F00", "x", "-"), ("#009E73", "+", "--"), ("#D55E00", "|", "-"), ("#0072B2", "p", ":"),
]  # fmt: skip
"""For plug-ins: one of these by its name, the same in every figure."""

PAIR_STYLES = [("#0072B2", "o", "-"), ("#D55E00", "P", "-."), ("#009E73", "D", "--")]
"""For pairs of arms."""

SETTINGS: Any = {
    "svg.hashsalt": "al-sweep",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.markersize": 4,
}

MOST_TICKS = 8
"""Label budgets that are written under an axis."""


@dataclass(frozen=True)
class Drawn:
    """One figure."""

    caption: str
    alternative: str
    """What the figure shows, in words and numbers, for those who do not see it."""
    wide: bool
    """Of several panels: to be scrolled sideways on a phone rather than shrunk until nothing can be read."""
    svg: bytes
    pdf: bytes


@dataclass(frozen=True)
class Sketch:
    """A figure before it is written."""

    figure: Figure
    caption: str
    alternative: str


def written(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of an SVG or PDF file, without the time of day in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata={"Date" if kind == "svg" else "CreationDate": None})
    return buffer.getvalue()


def style_of(acquisition: str) -> dict[str, Any]:
    """How an acquisition function is drawn; the same in every figure."""
    others = OTHER_STYLES[sum(map(ord, acquisition)) % len(OTHER_STYLES)]
    colour, marker, line = STYLES.get(acquisition, others)
    return {"color": colour, "marker": marker, "linestyle": line}


def headline_arms(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The learning curves at the confirmatory arm's dropout rate and T: one arm an acquisition function, the confirmatory one first."""
    choice = next((c for c in found["curves"] if c["arm"] == found["q1"]["arm"]), found["curves"][0] if found["curves"] else None)
    if choice is None:
        return []
    passes = choice["mc_passes"] or (found["plan"]["q1"]["arm"] or {}).get("mc_passes")
    near = [c for c in found["curves"] if c["dropout_rate"] == choice["dropout_rate"] and c["mc_passes"] in (None, passes)]
    return sorted(near, key=lambda c: c is not choice)


def draw_curve(axes: Axes, arm: dict[str, Any], *, seeds: bool) -> None:
    """One arm: mean, interval where there is one, and its seeds as thin lines."""
    style, rows = style_of(arm["acquisition"]), arm["budgets"]
    x = [row["budget"] for row in rows]
    axes.plot(x, [row["estimate"] for row in rows], label=f"{arm['arm']} (n={rows[0]['n']})", linewidth=1.8, **style)
    bounded = [row for row in rows if row["ci_low"] is not None and row["ci_high"] is not None]
    if bounded:
        b = [row["budget"] for row in bounded]
        axes.fill_between(b, [r["ci_low"] for r in bounded], [r["ci_high"] for r in bounded], color=style["color"], alpha=0.15, linewidth=0)
    for seed in rows[0]["seeds"] if seeds else ():
        axes.plot(x, [row["seeds"][seed] for row in rows], color=style["color"], linewidth=0.5, alpha=0.35)


def described_curve(arm: dict[str, Any]) -> str:
    """A curve in words."""
    first, last = arm["budgets"][0], arm["budgets"][-1]
    return (
        f"{arm['arm']} goes from {number(first['estimate'], 4)} at {count(first['budget'])} labels to {number(last['estimate'], 4)} at "
        f"{count(last['budget'])}"
    )


def label_axis(axes: Axes, budgets: list[int]) -> None:
    """A logarithmic axis of label budgets with whole numbers under it."""
    axes.set_xscale("log", base=2)
    keep = budgets if len(budgets) <= MOST_TICKS else [budgets[round(i)] for i in np.linspace(0, len(budgets) - 1, MOST_TICKS)]
    spread: list[int] = []
    for budget in reversed(keep):
        if not spread or budget <= spread[-1] * 0.8:
            spread.append(budget)
    axes.xaxis.set_major_locator(FixedLocator(spread))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("labelled reviews (log scale)")
