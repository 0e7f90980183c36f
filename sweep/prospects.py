"""What a study can and cannot show, said before it is run: floors of p, effects that would be found, verdicts that are impossible.

Everything here follows from the study file alone. A warning names what makes a verdict impossible and what would mend it.
"""

import math
from itertools import pairwise
from typing import Any

from sweep.power import mde_within_reach, noninferiority_power, smallest_p
from sweep.study import Study

SEED_SDS = (0.005, 0.01)
"""Spreads of the per-seed difference that Q1's power is shown for: half a point and one point of accuracy."""

SMOKE_TEST_SEEDS = 5
"""Up to this many seeds a study is a smoke test: no difference can be shown, however large."""

CONFIRMATORY_SEEDS = 10
"""The number that a confirmatory study should start from."""


def prospects(study: Study) -> dict[str, Any]:
    """What the study can show, as plain values, with every reason why a verdict is out of reach."""
    seeds, q1, q2 = len(study.grid.seeds), study.analysis.q1, study.analysis.q2
    contrasts = max(1, len(_q2_contrasts(study)))
    ladder = study.protocol.mc_budgets if q1.metric == "accuracy_mc" else study.protocol.label_budgets
    arm = study.confirmatory_arm
    return {
        "seeds": seeds,
        "q1": {
            "arm": arm and arm.model_dump(),
            "margin": q1.margin,
            "alpha": q1.alpha,
            "smallest_p": smallest_p(seeds, two_sided=False),
            "power_by_seed_sd": {f"{sd:g}": noninferiority_power(seeds, q1.margin, sd, q1.alpha) for sd in SEED_SDS},
        },
        "q2": {
            "delta": q2.delta,
            "alpha": q2.alpha,
            "contrasts": contrasts,
            "smallest_p": smallest_p(seeds, two_sided=True),
            "mde80_in_sds": None if math.isinf(found := mde_within_reach(seeds, q2.alpha / contrasts)) else found,
        },
        "warnings": [
            *_q1_warnings(study, seeds, len(ladder)),
            *_q2_warnings(study, seeds),
            *_batch_warnings(study),
            *_seed_warnings(seeds),
        ],
    }


def _q2_contrasts(study: Study) -> list[str]:
    """The primary contrasts that the grid allows, by the name of their baseline."""
    acquisitions = study.grid.acquisition
    return [name for name in (study.analysis.q2.deterministic, "random") if study.analysis.q2.mc in acquisitions and name in acquisitions]


def _q1_warnings(study: Study, seeds: int, steps: int) -> list[str]:
    """Why Q1 cannot be answered with YES."""
    q1, floor = study.analysis.q1, smallest_p(seeds, two_sided=False)
    found = []
    if not study.baseline.full_data:
        found.append("Q1 cannot be answered without the full-data model; set baseline.full_data: true")
    if study.confirmatory_arm is None:
        found.append("Q1 cannot be answered without an acquisition function other than random; add one to grid.acquisition")
    if "random" not in study.grid.acquisition:
        found.append(
            "Q1 cannot be answered without random choice, which shows that the margin proves something; add random to grid.acquisition"
        )
    if not steps:
        found.append("Q1 cannot be answered: its metric accuracy_mc is measured nowhere; name protocol.eval_mc_budgets")
    if floor > q1.alpha:
        found.append(
            f"Q1 can only be INCONCLUSIVE: with {_seeds(seeds)} no one-sided p can fall below {floor:.3g} (alpha {q1.alpha:g}); more seeds"
        )
    elif steps and floor > q1.alpha / steps:
        found.append(
            f"Q1 can never be YES: with {_seeds(seeds)} no p can fall below {floor:.3g}, but 'better than random' over {steps} budgets "
            f"needs {q1.alpha / steps:.3g} for the smallest; more seeds or fewer budgets"
        )
    return found


def _q2_warnings(study: Study, seeds: int) -> list[str]:
    """Why Q2 cannot be answered, or only with INCONCLUSIVE."""
    q2, grid, contrasts = study.analysis.q2, study.grid, _q2_contrasts(study)
    found = [
        f"Q2 cannot be answered without {name}; add it to grid.acquisition, or name another as analysis.q2.{role}"
        for role, name in (("mc", q2.mc), ("deterministic", q2.deterministic))
        if name not in grid.acquisition
    ]
    if not (max(grid.dropout_rate) > 0 and max(grid.mc_passes) > 1):
        found.append(
            "Q2 cannot be answered: without dropout, or with T = 1, no uncertainty is modelled; add a dropout rate above 0 and T above 1"
        )
    budgets = study.protocol.mc_budgets if q2.metric == "accuracy_mc" else study.protocol.label_budgets
    if len(budgets) < 2:
        found.append(f"Q2 cannot be answered: the area under a curve needs two label budgets with {q2.metric}, and there is {len(budgets)}")
    floor = smallest_p(seeds, two_sided=True)
    needed = q2.alpha / max(1, len(contrasts))
    if floor > needed:
        found.append(
            f"Q2 can never be BETTER or WORSE: with {_seeds(seeds)} no two-sided p can fall below {floor:.3g}, and {needed:.3g} is needed "
            f"(Holm over {len(contrasts)}); more seeds"
        )
    return found


def _batch_warnings(study: Study) -> list[str]:
    """What the passes of a batch-aware function cannot tell: T networks hold ln T nats, whatever the batch."""
    largest = max((after - before for before, after in pairwise(study.protocol.label_budgets)), default=0)
    passes = max(study.grid.mc_passes)
    if "batch_bald" not in study.grid.acquisition or largest <= passes:
        return []
    return [
        f"batch_bald: {passes} passes hold {math.log(passes):.1f} nats in all, which a few reviews exhaust; of a batch of {largest:,} the "
        "rest is chosen at random. Let label budgets rise by less, or raise grid.mc_passes"
    ]


def _seed_warnings(seeds: int) -> list[str]:
    """What a small number of seeds is good for."""
    if seeds <= SMOKE_TEST_SEEDS:
        return [f"{_seeds(seeds)}: a smoke test, not a study; a confirmatory one starts at {CONFIRMATORY_SEEDS} seeds"]
    return []


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"
