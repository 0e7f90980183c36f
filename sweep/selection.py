"""Which of a study's trajectories a launch runs: all that are not finished, unless it was told to run some of them only."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from sweep.folder import StudyFolder
from sweep.plan import Plan
from sweep.sections import seeds_of
from sweep.study import Study
from trainables.errors import RequestError

FAILED = "failed"


def with_seeds(study: Study, text: str | None) -> Study:
    """The study, with the seeds of ``--seeds`` among those of its grid: they may be new ones.

    Raises:
        RequestError: they are no seeds.
    """
    if text is None:
        return study
    try:
        wanted = seeds_of(text)
    except ValueError as error:
        raise RequestError(f'--seeds {text}: must be seeds or ranges of them, as in "11-20" or "3,7" ({error})') from error
    new = [seed for seed in wanted if seed not in study.grid.seeds]
    return study.model_copy(update={"grid": study.grid.model_copy(update={"seeds": (*study.grid.seeds, *new)})})


def selected(plan: Plan, folder: StudyFolder, only: Sequence[str], seeds: str | None) -> set[str]:
    """Ids of the trajectories that a launch may run.

    Args:
        plan: of the study.
        folder: knows which failed.
        only: ``failed``, ids, or beginnings of ids that are unique; empty for all.
        seeds: as in ``--seeds``; None for all.

    Raises:
        RequestError: an id that is not in the plan, or stands for several.
    """
    chosen = set(plan.specs)
    if seeds is not None:
        wanted = set(seeds_of(seeds))
        chosen = {trajectory_id for trajectory_id, spec in plan.specs.items() if spec.seed in wanted}
    if only:
        named = {trajectory_id for name in only if name != FAILED for trajectory_id in [_one(name, plan.specs.keys())]}
        chosen &= named | (set(folder.failures(plan.specs)) if FAILED in only else set())
    return chosen


def _one(name: str, ids: AbstractSet[str]) -> str:
    """The id that a name is, or is the beginning of."""
    found = [trajectory_id for trajectory_id in ids if trajectory_id.startswith(name)] if name else []
    if len(found) == 1:
        return found[0]
    reason = f"is the beginning of {len(found):,} ids" if found else "is the id of no trajectory of this study"
    raise RequestError(f"--only {name}: {reason}; give `failed` or an id as --dry-run --json and python -m sweep.status show it")
