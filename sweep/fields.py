"""The kinds of fields that all sections of a study file are made of: strict, frozen, and refused with a rule a person can follow."""

import difflib
from collections.abc import Collection, Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from trainables.acquisition import ACQUISITIONS
from trainables.plugins import NAME
from trainables.spec import SITES_OF


class Section(BaseModel):
    """A section of a study file: unknown keys, wrong types and infinite numbers are errors; nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A remedy for a misspelling; empty if nothing known is near."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _one_of(value: object, known: Collection[str]) -> str:
    """A built-in name, or that of a plug-in; whether the plug-in is there is found out where it is needed, not where a file is read."""
    if isinstance(value, str) and (value in known or NAME.fullmatch(value)):
        return value
    listed = f"one of {', '.join(known)}, or " if known else ""
    raise ValueError(f"{listed}a plug-in as package.module:name{did_you_mean(value, known)}")


def _known_acquisition(value: object) -> str:
    """Name of an acquisition function, or of a plug-in as ``package.module:name``."""
    return _one_of(value, ACQUISITIONS)


def _plugin(value: object) -> str:
    """Name of a plug-in as ``package.module:name``."""
    return _one_of(value, ())


def _known_classifier(value: object) -> str:
    """``lstm``, ``mlp``, or the name of a plug-in as ``package.module:name``."""
    return _one_of(value, SITES_OF)


Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1), AfterValidator(abs)]
"""A dropout rate; YAML's -0.0 is 0."""
Seed = Annotated[int, Field(ge=0)]
AcquisitionName = Annotated[str, BeforeValidator(_known_acquisition)]
"""One of `ACQUISITIONS`, or a plug-in's name."""
ClassifierName = Annotated[str, BeforeValidator(_known_classifier)]
PluginName = Annotated[str, BeforeValidator(_plugin)]
