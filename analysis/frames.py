"""From a study's folder to one tidy table: a row per finished round of every sealed trajectory.

Only sealed trajectories are read, so a table can be made while the study runs; what is planned and not there is listed, never
dropped in silence.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sweep.folder import PLAN_FILE, StudyFolder
from trainables.errors import LedgerError, RequestError
from trainables.ledger import SEALED
from trainables.rounds import schema

ARM = ["acquisition", "dropout_rate", "mc_passes"]
"""The columns that name an arm; seeds are its replicates."""


@dataclass(frozen=True)
class StudyResults:
    """What a study's folder holds so far."""

    name: str
    corpus: Mapping[str, Any]
    """Source, digest, sizes and classes."""
    rounds: pd.DataFrame
    """The columns of `trainables.ledger.Row`, and ``data_source``; ordered by arm, seed and round."""
    planned: frozenset[str]
    """Ids of all trajectories that were ever planned under this study's science."""
    failures: Mapping[str, str]
    """Errors of those that failed, by id."""

    @property
    def is_synthetic(self) -> bool:
        """Whether the reviews were generated: then no result says anything about real ones."""
        return bool(self.corpus["source"] == "synthetic")

    @property
    def finished(self) -> frozenset[str]:
        """Ids of the sealed trajectories."""
        return frozenset(self.rounds["trajectory_id"])

    @property
    def missing(self) -> list[str]:
        """Ids that are planned, neither finished nor failed."""
        return sorted(self.planned - self.finished - set(self.failures))


def read_study(folder: StudyFolder) -> StudyResults:
    """Read a study's folder.

    Raises:
        RequestError: not the folder of a study, or nothing is finished in it.
        LedgerError: a sealed trajectory is damaged.
    """
    if not folder.storage.exists(PLAN_FILE):
        raise RequestError(f"{folder.storage.location} is not the folder of a study: it has no {PLAN_FILE}; give STORAGE/STUDY")
    plan = folder.plan()
    planned = {cell["trajectory_id"] for cell in plan["cells"] if cell["trajectory_id"]}
    finished = sorted(folder.finished() & planned)
    if not finished:
        raise RequestError(f"{folder.storage.location}: none of {len(planned):,} trajectories is finished yet; launch the study first")
    with ThreadPoolExecutor(8) as pool:
        table = pa.concat_tables(pool.map(lambda trajectory_id: _read_sealed(folder, trajectory_id), finished))
    rounds = table.drop_columns(["acquired"]).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    rounds["data_source"] = plan["corpus"]["source"]
    rounds = rounds.sort_values([*ARM, "seed", "round"], ignore_index=True)
    failed = folder.failures(planned - set(finished))
    errors = {trajectory_id: str(record["error"]) for trajectory_id, record in failed.items()}
    return StudyResults(plan["study"], plan["corpus"], rounds, frozenset(planned), errors)


def _read_sealed(folder: StudyFolder, trajectory_id: str) -> pa.Table:
    """One sealed trajectory, checked to be what its folder says."""
    storage = folder.trajectory(trajectory_id)
    place = f"{storage.location}/{SEALED}"
    try:
        table = pq.read_table(pa.BufferReader(storage.read(SEALED)))
    except (pa.ArrowInvalid, OSError) as error:
        raise LedgerError(f"{place} cannot be read ({error}); move it away and launch again to have it sealed anew") from error
    if table.schema != schema() or set(table["trajectory_id"].to_pylist()) != {trajectory_id}:
        raise LedgerError(f"{place} is not the sealed table of trajectory {trajectory_id}; move it away and launch again")
    return table


def mean_accuracy(rounds: pd.DataFrame) -> pd.DataFrame:
    """Per arm and label budget: seeds, and the mean over them of both predictions' accuracy (MC: where it was measured)."""
    grouped = rounds.groupby([*ARM, "num_labelled"], dropna=False)
    return grouped.agg(
        seeds=("seed", "nunique"),
        accuracy_deterministic=("accuracy_deterministic", "mean"),
        accuracy_mc=("accuracy_mc", "mean"),
    ).reset_index()
