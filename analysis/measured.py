"""What a study has measured, as frames: rounds, learning curves, areas under them; and arms by name."""

import numpy as np
import pandas as pd

from analysis.asked import AXES, MEASURED, one_of
from analysis.curves import Axis, Curves, curves
from analysis.findings import RANDOM_SEED, learning_curves
from analysis.frames import Results
from sweep.analysis_plan import AnalysisPlan
from sweep.arm import Arm
from sweep.fields import did_you_mean
from trainables.errors import RequestError

ArmName = Arm | str
"""An arm, its name as the report prints it (``entropy p=0.25 T=10``), or its acquisition function's name where that has one arm."""


class Measured:
    """The measured side of a study's results."""

    def __init__(self, results: Results) -> None:
        """`results` are checked: every arm of a seed started from the same labelled set and the same weights."""
        self.results = results

    def __repr__(self) -> str:
        """Name, arms, seeds, and how much is finished."""
        results = self.results
        finished = results.planned - len(results.gaps)
        size = f"{len(results.arms)} arms, {len(results.seeds)} seeds"
        return f"<study {results.name}: {finished:,} of {results.planned:,} trajectories, {size}>"

    @property
    def rounds(self) -> pd.DataFrame:
        """One row per finished round, the columns of `trainables.rounds.Row` and ``arm``; a copy, to do with as you like."""
        return self.results.rounds.copy()

    @property
    def arms(self) -> list[Arm]:
        """All arms but the full-data models, in order."""
        return list(self.results.arms)

    @property
    def plan(self) -> AnalysisPlan:
        """The analysis plan: arm, margin, levels and delta, as declared in the study file or given to `load_study`."""
        return self.results.plan

    @property
    def gaps(self) -> pd.DataFrame:
        """Planned trajectories that are not there, each with its arm, seed, id and the reason; empty for a finished study."""
        return pd.DataFrame(self.results.gaps, columns=["arm", "seed", "trajectory_id", "reason"])

    def arm(self, name: ArmName) -> Arm:
        """The arm of that name, or the one that stands for it where the planner merged cells.

        Raises:
            RequestError: no arm, or several, have that name.
        """
        results = self.results
        named = {arm: {arm, *(point for point, own in results.cell_arms.items() if own == arm)} for arm in results.arms}
        found = [arm for arm, points in named.items() if any(name in (point, str(point), point.acquisition) for point in points)]
        if len(found) == 1:
            return found[0]
        problem = "is no arm of this study" if not found else "stands for several arms"
        known = [str(arm) for arm in found or results.arms]
        near = did_you_mean(name, [*known, *(arm.acquisition for arm in results.arms)])
        raise RequestError(f"{str(name)!r} {problem}; give one of {', '.join(known)}{near}")

    def curves(self, metric: str = "accuracy_deterministic") -> pd.DataFrame:
        """Learning curves: per arm and label budget the seeds (``n``), their mean (``estimate``) and its 95% interval.

        The interval is the sign-flip test inverted (`analysis.stats`); NaN is unbounded, as for five seeds or fewer.
        Budgets are those at which every arm has the metric.
        """
        rows = learning_curves(self.results, one_of("metric", metric, MEASURED), report_rng())
        names = ("arm", "acquisition", "dropout_rate", "mc_passes")
        numbers = ("budget", "n", "estimate", "ci_low", "ci_high")
        flat = [{name: row[name] for name in names} | {name: point[name] for name in numbers} for row in rows for point in row["budgets"]]
        return pd.DataFrame(flat, columns=[*names, *numbers]).astype({"mc_passes": "Int64", "ci_low": float, "ci_high": float})

    def by_seed(self, arm: ArmName, metric: str = "accuracy_deterministic") -> pd.DataFrame:
        """An arm's curves, seeds x label budgets."""
        return self._measured(metric).of(self.arm(arm)).copy()

    def alc(self, metric: str = "accuracy_deterministic", axis: Axis = "log2") -> pd.DataFrame:
        """Areas under the learning curves, seeds x arms, over log2(labels) or labels, divided by the range: in the metric's unit."""
        one_of("axis", axis, AXES)
        measured = self._measured(metric)
        return pd.DataFrame({str(arm): measured.alc(arm, axis) for arm in self.arms})

    def _measured(self, metric: str) -> Curves:
        return curves(self.results, one_of("metric", metric, MEASURED))


def report_rng() -> np.random.Generator:
    """A generator in the state in which each part of the report starts."""
    return np.random.default_rng(RANDOM_SEED)
