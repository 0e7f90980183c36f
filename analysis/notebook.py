"""A study's results as an object for notebooks: the rounds as a frame, and the report's statistics as functions of them.

The tempting way is a second, lighter set of statistics for looking around, which then says something else than the report in the
third digit, or counts rounds as replicates. Here every number comes from the functions that the report calls, with the report's own
seed for what is random, so that an answer and the report's are equal to the last digit. What a notebook adds is choice: any two arms,
any label budget, any family. Choice made after looking is exploration; what was declared before is in `q1` and `q2` without
arguments.

Accuracies, areas and differences are fractions, p-values are two-sided unless said otherwise, the replicate is the seed, and a limit
that is None is unbounded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.asked import AXES, changed, one_of
from analysis.contrasts import effect, finite, judged, marginal, pairs
from analysis.curves import Axis, Curves
from analysis.findings import findings
from analysis.measured import ArmName, Measured, report_rng
from analysis.q1 import answer_q1
from analysis.q2 import answer_q2
from analysis.secondary import labels_to_reach
from analysis.tables import EFFECT, labels_table
from sweep.analysis_plan import ArmChoice, Metric
from sweep.arm import Arm
from sweep.power import mde_within_reach, seeds_for
from trainables.errors import RequestError
from trainables.spec import FULL_DATA


class LoadedStudy(Measured):
    """What a study has found so far; made by `analysis.load_study`. `Measured` has its frames."""

    def q1(
        self, *, arm: ArmName | None = None, margin: float | None = None, alpha: float | None = None, metric: Metric | None = None
    ) -> dict[str, Any]:
        """Q1: does an arm reach the full-data model's accuracy with fewer labels? Fixed-sequence non-inferiority, with its gates.

        Without arguments the declared plan's answer, as ``q1`` in ``report.json``; docs/report.md names the keys.

        Args:
            arm: in place of the confirmatory arm.
            margin: in place of the declared one, a fraction of accuracy.
            alpha: in place of the declared one-sided level.
            metric: ``accuracy_deterministic`` or ``accuracy_mc``.

        Raises:
            RequestError: an argument is out of its range, or the arm is not there.
        """
        plan = changed(self.plan.q1, {"margin": margin, "alpha": alpha, "metric": metric})
        if arm is not None:
            # without validation: an arm of a table may have an acquisition function of other people's
            plan = plan.model_copy(update={"arm": ArmChoice.model_construct(**self.arm(arm)._asdict())})
        return answer_q1(self.results, plan, report_rng())

    def q2(
        self,
        *,
        mc: str | None = None,
        deterministic: str | None = None,
        alpha: float | None = None,
        delta: float | None = None,
        metric: Metric | None = None,
    ) -> dict[str, Any]:
        """Q2: does modelling uncertainty help? Two paired contrasts of the area under the curve, Holm over the two.

        Without arguments the declared plan's answer, as ``q2`` in ``report.json``; docs/report.md names the keys.

        Args:
            mc: the acquisition function on MC passes, in place of the declared one.
            deterministic: its twin with dropout off, in place of the declared one.
            alpha: in place of the declared two-sided level.
            delta: the smallest difference that matters, a fraction of accuracy.
            metric: ``accuracy_deterministic`` or ``accuracy_mc``.

        Raises:
            RequestError: an argument is out of its range.
        """
        changes = {"mc": mc, "deterministic": deterministic, "alpha": alpha, "delta": delta, "metric": metric}
        return answer_q2(self.results, changed(self.plan.q2, changes), report_rng())

    def contrast(
        self,
        treatment: ArmName,
        control: ArmName,
        *,
        budget: int | None = None,
        metric: Metric = "accuracy_deterministic",
        axis: Axis = "log2",
        alpha: float = 0.05,
    ) -> dict[str, Any]:
        """A paired contrast of two arms: of their areas under the curve (ALC), or of their accuracies at a label budget.

        Args:
            treatment: the arm that the difference is of.
            control: the arm it is measured against. Either may be ``full_data``, at the other's dropout rate and with a budget.
            budget: number of labels; None: the ALC.
            metric: ``accuracy_deterministic`` or ``accuracy_mc``.
            axis: of the ALC.
            alpha: of the two-sided interval and of the verdict.

        Returns:
            An effect as docs/report.md names it: ``n`` pairs of seeds, ``estimate`` (mean difference), ``ci_low``, ``ci_high``,
            ``p_value`` (exact sign flips up to 16 seeds), the paired t test beside it, ``mde80`` and more; judged as a family of
            one. Several that are looked at together belong into one `family`.

        Raises:
            RequestError: an arm, metric or budget is not there.
        """
        measured = self._accuracies(metric, axis, budget)
        name, treated = self._side(treatment, control, measured, budget, axis)
        other, controlled = self._side(control, treatment, measured, budget, axis)
        return self._judged(effect(name, other, pairs(treated, controlled), self.results.seeds, alpha, report_rng()), alpha)

    def marginal(
        self, treatment: str, control: str, *, metric: Metric = "accuracy_deterministic", axis: Axis = "log2", alpha: float = 0.05
    ) -> dict[str, Any]:
        """A paired contrast of two acquisition functions: ALC, averaged within seed over the study's dropout rates and T, as in Q2.

        Args:
            treatment: an acquisition function on MC passes; its cells without dropout, or with T = 1, take no part.
            control: one that needs no T (``random``, ``softmax_entropy``), taken at each cell's own dropout rate.
            metric: ``accuracy_deterministic`` or ``accuracy_mc``.
            axis: of the ALC.
            alpha: of the two-sided interval and of the verdict.

        Returns:
            An effect, as `contrast` does.

        Raises:
            RequestError: there is no cell to average over.
        """
        measured = self._accuracies(metric, axis)
        differences = marginal(self.results, measured, treatment, control, axis)
        if differences.empty:
            raise RequestError(
                f"{treatment} - {control}: no seed has both in every cell; the first must be an acquisition function on MC passes with "
                "dropout and T above 1, the second one without T, at the same dropout rates"
            )
        return self._judged(effect(treatment, control, differences, self.results.seeds, alpha, report_rng()), alpha)

    def family(self, effects: Sequence[Mapping[str, Any]], *, alpha: float = 0.05) -> pd.DataFrame:
        """Effects that are looked at together, with Holm's (1979) adjusted p and verdicts that hold for all of them at once.

        ``mde80`` and ``seeds_needed`` are for the family's smallest level, alpha over its size. NaN is what is unbounded or unknown.
        """
        plan = changed(self.plan.q2, {"alpha": alpha})
        types = {"contrast": "str", "n": "Int64", "verdict": "str", "seeds_needed": "Int64"}
        rows = judged([dict(row) for row in effects], plan.alpha, plan.delta)
        return pd.DataFrame(rows, columns=list(EFFECT)).astype({name: types.get(name, "float64") for name in EFFECT})

    def labels_to_target(
        self, target: float | None = None, *, margin: float | None = None, metric: Metric = "accuracy_deterministic"
    ) -> pd.DataFrame:
        """Labels until an arm first reaches a target accuracy at a measured budget, a row an arm.

        Args:
            target: an accuracy, the same for all seeds; None: each seed's full-data model less the margin.
            margin: in place of that of Q1's plan.
            metric: ``accuracy_deterministic`` or ``accuracy_mc``.

        Returns:
            ``n`` seeds, how many ``reached`` it, the ``median`` number of labels (Kaplan & Meier 1958: seeds that never got there are
            censored at the last budget; missing where half of them are), and the median ``saving`` against random, the ratio of
            labels random / arm, with its ``saving_bound`` (``=``, ``>=``, ``<=`` or ``unknown``).

        Raises:
            RequestError: a target or margin out of range.
        """
        if target is not None and not 0 < target <= 1:
            raise RequestError(f"target = {target!r} must be an accuracy as a fraction, above 0 and at most 1 (percent: divide by 100)")
        plan = changed(self.plan.q1, {"margin": margin, "metric": metric})
        return labels_table(labels_to_reach(self.results, plan, target))

    def mde(self, row: Mapping[str, Any], *, seeds: int | None = None, comparisons: int = 1, alpha: float = 0.05) -> float | None:
        """The smallest mean difference that is found with 80% power, at the spread of an effect's differences.

        Args:
            row: an effect, from `contrast`, `marginal` or `q2`.
            seeds: their number, if another than the effect's own.
            comparisons: the size of the family.
            alpha: two-sided level of the family.

        Returns:
            In the effect's unit; None where so few seeds allow no p that small, or the spread is unknown.
        """
        number = row["n"] if seeds is None else seeds
        return finite(mde_within_reach(number, alpha / comparisons) * row["sd"]) if row["sd"] else None

    def seeds_needed(self, row: Mapping[str, Any], difference: float, *, comparisons: int = 1, alpha: float = 0.05) -> int | None:
        """Fewest seeds with which a mean difference of that size is found with 80% power; the other side of `mde`."""
        return seeds_for(difference / row["sd"], alpha / comparisons) if row["sd"] else None

    def findings(self) -> dict[str, Any]:
        """Everything that the report says: the content of ``report.json``."""
        return findings(self.results)

    def _accuracies(self, metric: str, axis: str, budget: int | None = None) -> Curves:
        """The curves that a contrast is of.

        Raises:
            RequestError: another metric or axis, a budget that was not measured, or too few budgets for an area.
        """
        changed(self.plan.q1, {"metric": metric})
        one_of("axis", axis, AXES)
        measured = self._measured(metric)
        budgets = ", ".join(map(str, measured.budgets)) or "none"
        if budget is None and len(measured.budgets) < 2:
            raise RequestError(f"the area under a curve needs two label budgets with {metric}; there are: {budgets}")
        if budget is not None and budget not in measured.budgets:
            raise RequestError(f"budget = {budget} must be a label budget at which every arm has {metric}: {budgets}")
        return measured

    def _side(self, name: ArmName, partner: ArmName, measured: Curves, budget: int | None, axis: Axis) -> tuple[str, pd.Series]:
        """One side of a contrast: its name and its number by seed."""
        if name == FULL_DATA:
            if budget is None:
                raise RequestError("full_data has one number and no curve; give budget=..., the labels at which an arm is compared with it")
            rate = self.arm(partner).dropout_rate
            return str(Arm(FULL_DATA, rate, None)), measured.full(rate)
        arm = self.arm(name)
        return str(arm), measured.alc(arm, axis) if budget is None else measured.of(arm)[budget]

    def _judged(self, row: dict[str, Any], alpha: float) -> dict[str, Any]:
        """An effect as a family of one."""
        plan = changed(self.plan.q2, {"alpha": alpha})
        return judged([row], plan.alpha, plan.delta)[0]
