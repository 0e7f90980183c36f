"""The analysis plan: what will be tested, at which level and by which margin, written down before anything is computed.

A margin or an arm chosen after looking at results makes any test pass; so the plan stands in the study file, is resolved with every
default when a study is launched, and is kept in each launch's record. It is no part of a trajectory's identity: a report may be
made under another plan, and then says so.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from sweep.fields import AcquisitionName, Positive, Rate, Section
from trainables.acquisition import ACQUISITIONS, acquisition_function

Number = TypeVar("Number", int, float)

Metric = Literal["accuracy_deterministic", "accuracy_mc"]
"""Accuracy of the prediction with dropout off, or of the mean over MC passes (measured at `protocol.eval_mc_budgets` only)."""


class ArmChoice(Section):
    """One point of the grid but for the seed."""

    acquisition: AcquisitionName
    """One of the grid, other than random."""
    dropout_rate: Rate
    """One of the grid."""
    mc_passes: Positive | None = None
    """T; null where the acquisition function needs no passes."""


class Q1Plan(Section):
    """Q1: can active learning reach the accuracy of the full-data model with fewer labels? Fixed-sequence non-inferiority."""

    arm: ArmChoice | None = None
    """The one confirmatory arm; null: `q2.mc` where the grid has it, else the grid's first acquisition function but random, at the
    middle dropout rate and T of the grid (the lower of two)."""
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.005
    """Accuracy that an arm may fall short of the full-data model by and still count as reaching it, as a fraction."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.025
    """One-sided level."""
    metric: Metric = "accuracy_deterministic"
    """Accuracy of the prediction with dropout off, or of the mean over MC passes (where ``protocol.eval_mc_budgets`` has it measured)."""


class Q2Plan(Section):
    """Q2: does modelling uncertainty help? Two paired contrasts of the area under the learning curve (ALC), Holm over the two."""

    mc: AcquisitionName = "entropy"
    """The acquisition function that models uncertainty."""
    deterministic: AcquisitionName = "softmax_entropy"
    """Its twin that does not."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Two-sided family-wise level."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.0025
    """Smallest ALC difference that matters, as a fraction of accuracy; equivalence is shown within it."""
    metric: Metric = "accuracy_deterministic"
    """Accuracy of the prediction with dropout off, or of the mean over MC passes (where ``protocol.eval_mc_budgets`` has it measured)."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for name, value, needs_passes in (("mc", self.mc, True), ("deterministic", self.deterministic, False)):
            wanted = "mc" if needs_passes else "deterministic"
            if value in ACQUISITIONS and ACQUISITIONS[value].prediction != wanted:
                able = ", ".join(known for known, function in ACQUISITIONS.items() if function.prediction == wanted)
                raise ValueError(f"analysis.q2.{name} = {value!r} must be one of {able}")
        return self


class AnalysisPlan(Section):
    """The plan for both questions."""

    q1: Q1Plan = Q1Plan()
    """Of Q1."""
    q2: Q2Plan = Q2Plan()
    """Of Q2."""


def middle(values: Sequence[Number]) -> Number:
    """The middle of distinct values in order; the lower of two middles, which is the cheaper T."""
    return sorted(values)[(len(values) - 1) // 2]


def default_arm(q2: Q2Plan, acquisitions: Sequence[str], rates: Sequence[float], passes: Sequence[int]) -> ArmChoice | None:
    """The confirmatory arm of Q1 where none was chosen; None if no acquisition function but random is there."""
    learners = [name for name in acquisitions if name != "random"]
    if not learners:
        return None
    acquisition = q2.mc if q2.mc in learners else learners[0]
    uses_passes = acquisition_function(acquisition).prediction == "mc"
    sensible_rates = [rate for rate in rates if rate > 0 or not uses_passes] or list(rates)
    sensible_passes = [count for count in passes if count > 1] or list(passes)
    return ArmChoice(
        acquisition=acquisition, dropout_rate=middle(sensible_rates), mc_passes=middle(sensible_passes) if uses_passes and passes else None
    )
