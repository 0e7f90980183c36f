"""From a study's folder to checked rounds, a row per finished round of every trajectory; and what a report knows of a study.

Only sealed trajectories are read, so results can be reported while a study runs. What is planned and not there is listed as a gap,
never dropped in silence. What cannot be trusted is refused with its place: two results for one seed of an arm, a metric that is no
number, arms of a seed that did not start from the same labelled set and the same weights and so are no pairs.
"""

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from sweep.analysis_plan import AnalysisPlan, ArmChoice
from sweep.arm import Arm
from sweep.folder import PLAN_FILE, STUDY_FILE, TEST_LABELS, StudyFolder
from sweep.study import Study
from trainables.arrays import Floats
from trainables.errors import LedgerError, RequestError
from trainables.ledger import SEALED
from trainables.rounds import schema
from trainables.spec import FULL_DATA

RANDOM = "random"


ARM = list(Arm._fields)
"""The columns that name an arm."""


class Gap(NamedTuple):
    """A trajectory that was to be there and cannot be used."""

    arm: str
    seed: int
    trajectory_id: str | None
    reason: str
    """``missing`` (not finished), ``failed: ERROR``, or what is incomplete about it."""


@dataclass(frozen=True, eq=False)
class Results:
    """What a study, or a table from elsewhere, holds so far; compared and hashed by identity, so that curves can be kept by it."""

    name: str
    source: str
    """Where the reviews come from; ``table`` for a table from elsewhere."""
    place: str
    """Folder or file that was read."""
    rounds: pd.DataFrame
    """The columns of `trainables.rounds.Row`, ordered by arm, seed and labels, and ``arm``, the arm's name."""
    plan: AnalysisPlan
    """The analysis plan that stands in the study file now, its arm resolved."""
    gaps: tuple[Gap, ...]
    planned: int
    """Trajectories that were ever planned under this study's science."""
    all_labels: int | None
    """N: labels of the full-data model; None if that is not known."""
    seeds: tuple[int, ...]
    """All seeds that are planned or there."""
    cell_arms: Mapping[Arm, Arm]
    """The grid's points and the arms that stand for them, where the planner merged cells."""
    plan_file: str | None = None
    """Where the plan was taken from instead; None if it is the study's own."""
    corpus: Mapping[str, Any] | None = None
    folder: StudyFolder | None = None

    @property
    def is_synthetic(self) -> bool:
        """Whether the reviews were generated: then no result says anything about real ones."""
        return self.source == "synthetic"

    @property
    def is_interim(self) -> bool:
        """Whether something planned is not finished."""
        return bool(self.gaps)

    @cached_property
    def arms(self) -> list[Arm]:
        """All arms but the full-data models, in order."""
        rows = self.rounds.loc[self.rounds["acquisition"] != FULL_DATA, ARM].drop_duplicates()
        return [_arm(*row) for row in rows.itertuples(index=False)]

    def arm_of(self, point: Arm | ArmChoice) -> Arm:
        """The arm that stands for a point of the grid."""
        point = Arm(point.acquisition, point.dropout_rate, point.mc_passes)
        return self.cell_arms.get(point, point)

    def mc_arms(self, acquisition: str) -> list[Arm]:
        """An acquisition function's arms that model uncertainty: p > 0 and T > 1."""
        own = {self.arm_of(point) for point in self.cell_arms if point.acquisition == acquisition}
        own |= {arm for arm in self.arms if arm.acquisition == acquisition}
        return [arm for arm in self.arms if arm in own and arm.models_uncertainty]

    def trajectory_ids(self, arm: Arm) -> dict[int, str]:
        """Ids of an arm's finished trajectories by seed."""
        rows = self.rounds[self.rounds["arm"] == str(arm)].drop_duplicates("seed")
        return {int(seed): str(trajectory_id) for seed, trajectory_id in zip(rows["seed"], rows["trajectory_id"], strict=True)}

    def acquired(self, arm: Arm) -> dict[int, list[Sequence[int]]]:
        """What each seed's trajectory acquired, round by round; empty for a table from elsewhere."""
        if self.folder is None:
            return {}
        chosen = {}
        for seed, trajectory_id in self.trajectory_ids(arm).items():
            data = self.folder.trajectory(trajectory_id).read(SEALED)
            chosen[seed] = pq.read_table(pa.BufferReader(data), columns=["acquired"])["acquired"].to_pylist()
        return chosen

    def correct(self, arm: Arm, num_labelled: int, mode: str) -> dict[int, Floats]:
        """Per seed, (R,) ones where a test review's predicted class is right; empty where predictions were not stored."""
        if self.folder is None or not self.folder.storage.exists(TEST_LABELS):
            return {}
        labels = np.load(io.BytesIO(self.folder.storage.read(TEST_LABELS)), allow_pickle=False)
        rows = self.rounds[(self.rounds["arm"] == str(arm)) & (self.rounds["num_labelled"] == num_labelled)]
        found = {}
        for seed, trajectory_id, number in zip(rows["seed"], rows["trajectory_id"], rows["round"], strict=True):
            name, storage = f"predictions/{number:04}.npz", self.folder.trajectory(trajectory_id)
            if not storage.exists(name):
                return {}
            with np.load(io.BytesIO(storage.read(name)), allow_pickle=False) as arrays:
                found[int(seed)] = (arrays[mode].argmax(axis=1) == labels).astype(np.float64)
        return found


def read_study(folder: StudyFolder) -> Results:
    """Read a study's folder.

    Raises:
        RequestError: not the folder of a study, nothing is finished in it, or its results cannot be compared.
        LedgerError: a sealed trajectory is damaged.
    """
    if not folder.storage.exists(PLAN_FILE):
        raise RequestError(f"{folder.storage.location} is not the folder of a study: it has no {PLAN_FILE}; give STORAGE/STUDY")
    plan = folder.plan()
    cells = {cell["trajectory_id"]: cell for cell in reversed(plan["cells"]) if cell["trajectory_id"]}
    finished = sorted(folder.finished() & set(cells))
    if not finished:
        raise RequestError(f"{folder.storage.location}: none of {len(cells):,} trajectories is finished yet; launch the study first")
    rounds = _finished_rounds(folder, finished)
    first = rounds.drop_duplicates("trajectory_id")
    arms = {row[0]: _arm(*row[1:]) for row in first[["trajectory_id", *ARM]].itertuples(index=False)}
    gaps = _planned_gaps(folder, {i: cell for i, cell in cells.items() if i not in arms})
    return Results(
        name=plan["study"],
        source=plan["corpus"]["source"],
        place=folder.storage.location,
        rounds=rounds,
        plan=_declared_plan(folder),
        gaps=gaps,
        planned=len(cells),
        all_labels=plan["corpus"]["train_reviews"],
        seeds=tuple(sorted({cell["seed"] for cell in cells.values()})),
        cell_arms={Arm.of_cell(cell): arms[cell["trajectory_id"]] for cell in plan["cells"] if cell["trajectory_id"] in arms},
        corpus=plan["corpus"],
        folder=folder,
    )


def _finished_rounds(folder: StudyFolder, trajectory_ids: Sequence[str]) -> pd.DataFrame:
    """The rounds of sealed trajectories, checked."""
    with ThreadPoolExecutor(8) as pool:
        table = pa.concat_tables(pool.map(lambda trajectory_id: _read_sealed(folder, trajectory_id), trajectory_ids))
    rounds = with_arms(table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))
    check_rounds(rounds, folder.storage.location)
    return rounds


def _planned_gaps(folder: StudyFolder, unfinished: Mapping[str, Mapping[str, Any]]) -> tuple[Gap, ...]:
    """Cells by the id of their trajectory, which is not finished, as gaps: by seed."""
    errors = folder.failures(set(unfinished))
    return tuple(
        Gap(str(Arm.of_cell(cell)), cell["seed"], i, f"failed: {errors[i]['error']}" if i in errors else "missing")
        for i, cell in sorted(unfinished.items(), key=lambda item: (item[1]["seed"], item[0]))
    )


def _declared_plan(folder: StudyFolder) -> AnalysisPlan:
    """The analysis plan of the study file as it was last launched."""
    try:
        study = Study.model_validate(yaml.safe_load(folder.storage.read(STUDY_FILE)))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise RequestError(f"{folder.storage.location}/{STUDY_FILE} cannot be read ({error}); restore it, or launch again") from error
    q1 = study.analysis.q1.model_copy(update={"arm": study.confirmatory_arm})
    return study.analysis.model_copy(update={"q1": q1})


def _read_sealed(folder: StudyFolder, trajectory_id: str) -> pa.Table:
    """One sealed trajectory, checked to be what its folder says; without what it acquired, which is most of it."""
    storage = folder.trajectory(trajectory_id)
    place = f"{storage.location}/{SEALED}"
    try:
        file = pq.ParquetFile(pa.BufferReader(storage.read(SEALED)))
        table = file.read(columns=[name for name in schema().names if name != "acquired"])
    except (pa.ArrowInvalid, OSError) as error:
        raise LedgerError(f"{place} cannot be read ({error}); move it away and launch again to have it sealed anew") from error
    if file.schema_arrow != schema() or set(table["trajectory_id"].to_pylist()) != {trajectory_id}:
        raise LedgerError(f"{place} is not the sealed table of trajectory {trajectory_id}; move it away and launch again")
    return table


def with_arms(rounds: pd.DataFrame) -> pd.DataFrame:
    """The rounds with the name of their arm, in order."""
    distinct = rounds[ARM].drop_duplicates()
    names = distinct.assign(arm=[str(_arm(*row)) for row in distinct.itertuples(index=False)])
    return rounds.merge(names, on=ARM, how="left").sort_values([*ARM, "seed", "num_labelled"], ignore_index=True)


def _arm(acquisition: object, dropout_rate: Any, mc_passes: Any) -> Arm:
    """An arm from a table's values."""
    return Arm(str(acquisition), float(dropout_rate), None if pd.isna(mc_passes) else int(mc_passes))


def check_rounds(rounds: pd.DataFrame, place: str) -> None:
    """Refuse results that cannot be compared.

    Raises:
        RequestError: duplicated (arm, seed, labels), a metric that is no number in its range, or arms that are not paired.
    """
    twice = rounds[rounds.duplicated(["arm", "seed", "num_labelled"])]
    if len(twice):
        row = twice.iloc[0]
        raise RequestError(
            f"{place}: {row['arm']}, seed {row['seed']}, has two results for {row['num_labelled']:,} labels; a seed counts once in an arm: "
            "remove one, or give it a seed of its own"
        )
    full = rounds[rounds["acquisition"] == FULL_DATA]
    several = full[full.duplicated(["arm", "seed"])]
    if len(several):
        row = several.iloc[0]
        raise RequestError(f"{place}: {row['arm']}, seed {row['seed']}, has several rows; the full-data model has one, at all labels")
    for name in ("accuracy_deterministic", "accuracy_mc"):
        values = rounds[name].astype(float)
        wrong = rounds[~values.between(0, 1) & (values.notna() | (name == "accuracy_deterministic"))]
        if len(wrong):
            row = wrong.iloc[0]
            raise RequestError(
                f"{place}: {name} = {row[name]} of {row['arm']}, seed {row['seed']}, {row['num_labelled']:,} labels, "
                "is no fraction in [0, 1]; correct it, or move the trajectory away to have it computed again"
            )
    _check_pairing(rounds, place)


def _check_pairing(rounds: pd.DataFrame, place: str) -> None:
    """Arms of a seed start from one labelled set and from one set of weights, or differences by seed are no paired differences."""
    first = rounds.drop_duplicates(["arm", "seed"])
    for name in ("initial_set_hash", "initial_weights_hash"):
        if name in first:
            distinct = first.groupby("seed")[name].nunique()
            if (distinct > 1).any():
                seed = distinct.index[distinct > 1][0]
                raise RequestError(
                    f"{place}: the arms of seed {seed} are not paired: they differ in {name}; results of different studies cannot be mixed"
                )
