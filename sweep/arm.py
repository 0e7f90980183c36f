"""An arm and its name: the same words in the plan, while a study runs, and in the report."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from trainables.acquisition import ACQUISITIONS
from trainables.spec import TrajectorySpec


class Arm(NamedTuple):
    """Acquisition function x dropout rate x T, all seeds together; seeds are its replicates."""

    acquisition: str
    dropout_rate: float
    mc_passes: int | None
    """T; None where it has no meaning."""

    @classmethod
    def of_cell(cls, cell: Mapping[str, Any]) -> "Arm":
        """The point of the grid that a cell of ``plan.json`` stands at, without a T that means nothing."""
        function = ACQUISITIONS.get(cell["acquisition"])
        uses_passes = function.prediction == "mc" if function else cell.get("uses_passes")  # recorded, for a plug-in that is not here
        return cls(cell["acquisition"], cell["dropout_rate"], cell["mc_passes"] if uses_passes else None)

    @classmethod
    def of_spec(cls, spec: TrajectorySpec) -> "Arm":
        """The arm that a trajectory belongs to."""
        return cls(spec.acquisition, spec.dropout_rate, spec.mc_passes)

    def __str__(self) -> str:
        """As the report names it."""
        return f"{self.acquisition} p={self.dropout_rate}" + ("" if self.mc_passes is None else f" T={self.mc_passes}")

    @property
    def models_uncertainty(self) -> bool:
        """Whether dropout is left on when scoring, with passes that can differ."""
        return self.dropout_rate > 0 and self.mc_passes is not None and self.mc_passes > 1
