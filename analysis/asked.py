"""What a notebook asks for, checked by the rules of the study file: a wrong metric, margin or level is told, not computed."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from analysis.q2 import METRICS, MODES
from sweep.analysis_plan import Q1Plan, Q2Plan
from sweep.fields import did_you_mean
from trainables.errors import RequestError

MEASURED = tuple(f"{metric}_{mode}" for metric in METRICS for mode in MODES)
"""The metrics of a round: accuracy (fraction), NLL (nats), Brier score (0 to 2) and calibration error, each of both predictions."""

AXES = ("log2", "linear")
"""Of the area under a curve."""

PlanSection = TypeVar("PlanSection", Q1Plan, Q2Plan)


def one_of(name: str, value: str, known: Sequence[str]) -> str:
    """The value, if it is known.

    Raises:
        RequestError: it is not.
    """
    if value not in known:
        raise RequestError(f"{name} = {value!r} must be one of {', '.join(known)}{did_you_mean(value, known)}")
    return value


def changed(plan: PlanSection, changes: Mapping[str, Any]) -> PlanSection:
    """The plan with what was given (not None) in place of its own.

    Raises:
        RequestError: a value breaks a rule of the plan.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        checked = type(plan).model_validate(given)
    except ValidationError as error:
        detail = error.errors()[0]
        place = f"{detail['loc'][0]} = {detail['input']!r}: " if detail["loc"] else ""
        raise RequestError(place + detail["msg"].removeprefix("Value error, ")) from error
    return plan.model_copy(update={name: getattr(checked, name) for name in given})
