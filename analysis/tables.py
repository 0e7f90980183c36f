"""The report's tables as CSV (every digit) and LaTeX (as the page prints them), from the findings alone."""

from typing import Any

import pandas as pd

from analysis.wording import count, number, p_text, points

EFFECT = (
    "contrast",
    "n",
    "estimate",
    "ci_low",
    "ci_high",
    "t_low",
    "t_high",
    "dz",
    "p_value",
    "p_adjusted",
    "verdict",
    "mde80",
    "seeds_needed",
)

IN_POINTS = {"estimate", "ci_low", "ci_high", "t_low", "t_high", "mde80", "lower", "upper"}
"""Columns that are printed in points of accuracy."""


def tables(found: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """All tables with rows in them, by name; numbers as in ``report.json``."""
    named = {
        "ladder": _frame(found["q1"]["ladder"], ("budget", "n", "estimate", "lower", "upper", "p_value", "status")),
        "beats_random": _frame((found["q1"]["gates"]["beats_random"] or {}).get("rows", []), None),
        "q1_cells": _frame(found["q1"]["cells"], None),
        "effects": _frame([*found["q2"]["contrasts"], *found["q2"]["secondary"]], EFFECT),
        "two_by_two": _frame(_two_by_two(found), None),
        "cells": _frame(found["cells"], (*EFFECT, "p_holm")),
        "along_the_curve": _frame(found["along_the_curve"], ("budget", "n", "estimate", "ci_low", "ci_high", "p_value", "p_adjusted")),
        "labels_to_target": labels_table(found["labels_to_target"]),
        "curves": _frame(_curves(found), None),
        "robustness": _frame(found["robustness"], None),
    }
    return {name: table for name, table in named.items() if len(table)}


def _frame(rows: list[dict[str, Any]], columns: tuple[str, ...] | None) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns) if columns and rows else None)


def _two_by_two(found: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("effect", "n", "estimate", "ci_low", "ci_high", "dz", "p_value")
    return [
        {"metric": block["metric"]} | {name: row[name] for name in names} for block in found["q2"]["two_by_two"] for row in block["effects"]
    ]


def labels_table(block: dict[str, Any]) -> pd.DataFrame:
    """Labels to a target, a row an arm: seeds, how many reached it, the median, and the saving against random with its bound."""
    rows = [
        {
            "arm": row["arm"],
            "n": row["n"],
            "reached": row["reached"],
            "median": row["median"],
            "saving": row["saving"] and row["saving"]["median"]["ratio"],
            "saving_bound": row["saving"] and row["saving"]["median"]["bound"],
        }
        for row in block["arms"]
    ]
    return _frame(rows, None)


def _curves(found: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("budget", "n", "estimate", "ci_low", "ci_high", "accuracy_mc")
    return [{"arm": curve["arm"]} | {name: row[name] for name in names} for curve in found["curves"] for row in curve["budgets"]]


def latex(name: str, table: pd.DataFrame) -> str:
    """A table for a paper that loads booktabs: effects in points of accuracy, p to three digits."""
    in_points = IN_POINTS if name not in ("two_by_two", "curves") else set()
    columns = [str(column) for column in table]
    printed = {column: [_cell(column, value, in_points) for value in table[column]] for column in columns}
    heads = [column.replace("_", " ") + (" (points)" if column in in_points else "") for column in columns]
    rows = [heads, *[list(row) for row in zip(*printed.values(), strict=True)]]
    lines = [" & ".join(_escaped(text) for text in row) + r" \\" for row in rows]
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{'l' + 'r' * (len(heads) - 1)}}}", *body, r"\end{tabular}", ""])


def _cell(column: str, value: Any, in_points: set[str]) -> str:
    """A value as a reader wants it."""
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return "unbounded" if column in ("lower", "upper", "ci_low", "ci_high", "t_low", "t_high") else "\N{EN DASH}"
    if column in in_points:
        return points(float(value), sign=column != "mde80")
    if column.startswith("p_"):
        return p_text(float(value))
    if column in ("budget", "median", "n", "b_star", "seeds_needed", "reached"):
        return count(int(value))
    return number(float(value), 4) if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    special = {
        "\\": r"\textbackslash{}",
        "\N{MINUS SIGN}": "$-$",
        "\N{EN DASH}": "--",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
    special |= {">": "$>$", "<": "$<$"} | {mark: f"\\{mark}" for mark in "_%&#${}"}
    return "".join(special.get(character, character) for character in text)
