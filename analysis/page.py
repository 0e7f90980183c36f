"""The page: findings and figures through the template ``report.html.j2``, into one file that needs nothing else.

Every number on the page is printed by `_value`, which looks it up in the findings by its key and leaves the key beside it
(``data-key="q2.contrasts.0.estimate"``): what is printed is what ``report.json`` holds, and a program can check it. Everything that
came from a file is escaped.
"""

import base64
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from analysis.drawing import Drawn
from analysis.wording import count, number, p_text, points

FORMATS: dict[str, Callable[[Any], str]] = {
    "effect": lambda value: points(value, sign=True),
    "points": points,
    "mde": lambda value: "\N{EN DASH}" if value is None else points(value),
    "p": p_text,
    "count": count,
    "two": number,
    "four": lambda value: number(value, 4),
    "gain": lambda value: "unbounded" if value is None else number(value, 4) if value < 0 else f"+{number(value, 4)}",
    "short": lambda value: f"{value:g}",
    "seconds": lambda value: "\N{EN DASH}" if value is None else f"{value:,.0f}",
    "hours": lambda value: "unknown" if value is None else f"{value:,.2f}",
}
"""How a number is printed, by the name that the template uses."""

VERDICTS = {
    "YES": ("yes", "Yes"),
    "YES_WITHOUT_ACTIVE_LEARNING": ("partly", "Fewer labels suffice, not shown to be due to active learning"),
    "NO": ("no", "No"),
    "BETTER": ("yes", "Better"),
    "WORSE": ("no", "Worse"),
    "EQUIVALENT": ("partly", "Equivalent"),
    "INCONCLUSIVE": ("open", "Inconclusive"),
}
"""Class and wording of a verdict's chip."""


def render(found: Mapping[str, Any], figures: Mapping[str, Drawn]) -> str:
    """The whole page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"value": lambda key, form: _value(found, key, form), "figure": lambda name: _figure(figures, name)}
    environment.globals["unbounded"] = lambda low, high: lookup(found, low) is None and lookup(found, high) is None
    environment.filters["short_hash"] = lambda text: (text or "unknown")[:12]
    template = environment.from_string((files("analysis") / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(found=found, verdicts=VERDICTS)


def lookup(found: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted key; a number is a position in a list."""
    node: Any = found
    for part in key.split("."):
        node = node[int(part)] if isinstance(node, list) else node[part]
    return node


def _value(found: Mapping[str, Any], key: str, form: str) -> Markup:
    """A number as it is printed, with its key."""
    text = FORMATS[form](lookup(found, key))
    return Markup('<span class="v" data-key="{}" data-form="{}">{}</span>').format(key, form, text)


def _figure(figures: Mapping[str, Drawn], name: str) -> Markup:
    """A figure with its caption and text alternative; nothing where there was nothing to draw."""
    drawn = figures.get(name)
    if drawn is None:
        return Markup("")
    source = base64.b64encode(drawn.svg).decode()
    image = Markup('<img src="data:image/svg+xml;base64,{}" alt="{}">').format(source, drawn.alternative)
    kind = Markup(' class="wide" tabindex="0"') if drawn.wide else Markup("")
    return Markup('<figure id="{}"{}>{}<figcaption>{}</figcaption></figure>').format(f"figure-{name}", kind, image, escape(drawn.caption))
