"""From a study's grid to the trajectories that have to be computed.

A *cell* is one point of the grid: seed x acquisition x dropout rate x T, and the full-data model once per seed and dropout rate.
Computing every cell is the plain and wrong way: a third or more of a typical grid is the same trajectory under another name.
Guessing from results which cells agree is worse. Here cells that *cannot* differ share a trajectory, by rules that can be read below;
cells that cannot mean anything are refused by name; and the plan says which and why. Whatever is left is one `TrajectorySpec` per
distinct id, so that equal work has one name whoever asks for it, and finished work is never done again.

Order: seed-major, so that whole paired blocks finish early and a running study can be analysed; in a block the longest first. What
the end of a study needs besides, so that no core idles there, depends on the machines: ``schedule.py`` sees to it when they are known.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sweep.cost import Work, total, work_of
from sweep.sections import Protocol
from sweep.study import Study
from trainables.acquisition import acquisition_function
from trainables.corpus import Corpus
from trainables.errors import RequestError
from trainables.plugins import is_plugin, named_source
from trainables.spec import FULL_DATA, SCIENCE_VERSION, TrajectorySpec

BINARY_TWINS = {
    "margin": "entropy",
    "least_confidence": "entropy",
    "softmax_margin": "softmax_entropy",
    "softmax_least_confidence": "softmax_entropy",
}
"""With two classes these rank by |pbar - 1/2| as entropy does."""

DETERMINISTIC_TWINS = {"entropy": "softmax_entropy", "margin": "softmax_margin", "least_confidence": "softmax_least_confidence"}
"""With no dropout every pass is the deterministic network, and these read its distribution alone."""


@dataclass(frozen=True)
class Cell:
    """One point of the grid, and what became of it."""

    seed: int
    acquisition: str
    dropout_rate: float
    mc_passes: int | None
    """T as the grid has it; None for the full-data model."""
    trajectory_id: str | None
    """The trajectory that stands for the cell; None if the cell is refused."""
    note: str | None
    """Why the cell is refused, or why it shares a trajectory with others."""

    @property
    def uses_passes(self) -> bool:
        """Whether T means anything here."""
        return self.acquisition != FULL_DATA and acquisition_function(self.acquisition).prediction == "mc"

    @property
    def key(self) -> tuple[int, str, float, int | None]:
        """The point itself."""
        return self.seed, self.acquisition, self.dropout_rate, self.mc_passes


@dataclass(frozen=True)
class Plan:
    """All cells of a study and the trajectories behind them."""

    cells: tuple[Cell, ...]
    specs: Mapping[str, TrajectorySpec]
    """Unique trajectories by id, in the order in which they are to be run."""
    work: Mapping[str, tuple[Work, ...]]
    """What each round of each trajectory computes, counted; seeds share the counts of their arm."""

    @cached_property
    def costs(self) -> dict[str, tuple[float, ...]]:
        """Tokens of forward computation that each round of each trajectory takes, roughly."""
        return self.by_round(lambda work, _: work.tokens)

    def by_round(self, value: Callable[[Work, str], float]) -> dict[str, tuple[float, ...]]:
        """A value of each round of each trajectory, worked out once an arm: `value` of its counts and its acquisition function."""
        known: dict[int, tuple[float, ...]] = {}
        for trajectory_id, rounds in self.work.items():
            if id(rounds) not in known:
                known[id(rounds)] = tuple(value(work, self.specs[trajectory_id].acquisition) for work in rounds)
        return {trajectory_id: known[id(rounds)] for trajectory_id, rounds in self.work.items()}

    def notes(self) -> tuple[dict[str, int], dict[str, int]]:
        """Reasons with their numbers of cells: for sharing a trajectory, and for refusal."""
        merged: dict[str, int] = {}
        refused: dict[str, int] = {}
        for cell in self.cells:
            if cell.note:
                reasons = merged if cell.trajectory_id else refused
                reasons[cell.note] = reasons.get(cell.note, 0) + 1
        return merged, refused

    def remaining(self, finished: AbstractSet[str]) -> list[TrajectorySpec]:
        """What has still to be run, in order."""
        return [spec for trajectory_id, spec in self.specs.items() if trajectory_id not in finished]


@dataclass(frozen=True)
class _Arm:
    """What the cells of all seeds at one point of the other axes have in common."""

    acquisition: str
    dropout_rate: float
    mc_passes: int | None
    spec: TrajectorySpec | None
    """Of the first seed; None if the cells are refused."""
    note: str | None


def make_plan(study: Study, corpus: Corpus) -> Plan:
    """All cells of the study's grid, and their unique trajectories in the order of running.

    What a cell amounts to and what it costs does not depend on its seed, and is worked out once an arm: of 100,000 cells that takes
    half of the time.

    Raises:
        RequestError: budgets beyond the training reviews, or nothing left to run.
        ValueError: two specs that differ share an id.
    """
    _check_against(study, corpus)
    try:
        _check_contrast(study)
        arms = _arms(study, corpus)
    except ImportError as error:
        raise RequestError(str(error)) from error
    first_work = {arm.spec: work_of(arm.spec, corpus) for arm in arms if arm.spec}
    if not first_work:
        raise RequestError("every cell of the grid is refused:\n" + "\n".join(sorted({str(arm.note) for arm in arms})))
    longest_first = sorted(first_work, key=lambda spec: -total(first_work[spec]).tokens)
    cells: list[Cell] = []
    specs: dict[str, TrajectorySpec] = {}
    work: dict[str, tuple[Work, ...]] = {}
    for seed in study.grid.seeds:
        ids: dict[TrajectorySpec | None, str | None] = {None: None}
        for first in longest_first:
            spec = replace(first, seed=seed)
            ids[first] = spec.trajectory_id
            if specs.setdefault(spec.trajectory_id, spec) != spec:
                raise ValueError(f"two trajectories that differ share the id {spec.trajectory_id}: {spec} and {specs[spec.trajectory_id]}")
            work[spec.trajectory_id] = first_work[first]
        cells += [Cell(seed, arm.acquisition, arm.dropout_rate, arm.mc_passes, ids[arm.spec], arm.note) for arm in arms]
    return Plan(tuple(cells), specs, work)


def _arms(study: Study, corpus: Corpus) -> list[_Arm]:
    """The arms of the grid, and what becomes of each."""
    common = _common_fields(study, corpus) | {"seed": study.grid.seeds[0]}
    return [_Arm(*point, *_spec_of_cell(study, corpus, common, point)) for point in _points(study)]


def _points(study: Study) -> Iterator[tuple[str, float, int | None]]:
    """The grid's points but for the seed; T is None for the full-data model."""
    grid = study.grid
    for dropout_rate in grid.dropout_rate:
        if study.baseline.full_data:
            yield FULL_DATA, dropout_rate, None
        for acquisition in grid.acquisition:
            for mc_passes in grid.mc_passes:
                yield acquisition, dropout_rate, mc_passes


def _check_against(study: Study, corpus: Corpus) -> None:
    """Refuse budgets that the corpus cannot fill."""
    largest, num_train = study.protocol.label_budgets[-1], len(corpus.train)
    if largest > num_train:
        raise RequestError(
            f"protocol.label_budgets ends at {largest:,}, but the corpus has {num_train:,} training reviews; let the last be at most that"
        )


def _check_contrast(study: Study) -> None:
    """Refuse plug-ins in Q2's places that model uncertainty where they must not, or the other way round."""
    for role, wanted in (("mc", "mc"), ("deterministic", "deterministic")):
        name = getattr(study.analysis.q2, role)
        if name in study.grid.acquisition and acquisition_function(name).prediction != wanted:
            raise RequestError(f"analysis.q2.{role} = {name!r} must be an acquisition function whose prediction is {wanted!r}")


def _common_fields(study: Study, corpus: Corpus) -> dict[str, Any]:
    """The fields that all trajectories of the study have in common."""
    sections = study.model.model_dump(exclude={"site_dropout"}) | study.training.model_dump()
    sites = {f"{site}_dropout": rate for site, rate in study.model.site_dropout.model_dump().items()}
    return {"corpus": corpus.digest, **sections, **sites, "classifier": study.classifier} | _without_effect(study)


def _without_effect(study: Study) -> dict[str, Any]:
    """The values of the fields that mean nothing to the classifier: the MLP embeds no words and keeps no states."""
    return {"embedding_dim": 0, "embedding_std": 0.0, "pooling": "mean", "precision": "float32"} if study.classifier == "mlp" else {}


def _spec_of_cell(
    study: Study, corpus: Corpus, common: Mapping[str, Any], point: tuple[str, float, int | None]
) -> tuple[TrajectorySpec | None, str | None]:
    """The trajectory that stands for a cell, or None; and the reason where it is not the cell's very own."""
    acquisition, dropout_rate, mc_passes = point
    sites = {name: None if rate == dropout_rate else rate for name, rate in common.items() if name.endswith("_dropout")}
    drops_nothing = dropout_rate == 0 and not any(sites.values())
    note = None
    if acquisition != FULL_DATA:
        acquisition, mc_passes, note, refused = _arm(acquisition, mc_passes, drops_nothing, len(corpus.class_names), study.grid.mc_passes)
        if refused:
            return None, note
    protocol = study.protocol
    eval_budgets = protocol.mc_budgets if acquisition != FULL_DATA else (len(corpus.train),) * bool(protocol.mc_budgets)
    fields = {
        **common,
        **sites,
        "acquisition": acquisition,
        "dropout_rate": dropout_rate,
        "mc_passes": mc_passes,
        "plugins": tuple(sorted(named_source(name) for name in {acquisition, common["classifier"]} if is_plugin(name))),
        "label_budgets": None if acquisition == FULL_DATA else protocol.label_budgets,
        "pool_subsample": None if acquisition == FULL_DATA else _pool_subsample(protocol, len(corpus.train)),
        "eval_mc_passes": protocol.eval_mc_passes if eval_budgets else None,
        "eval_mc_budgets": eval_budgets,
    }
    return TrajectorySpec(**fields), note


def _pool_subsample(protocol: Protocol, num_train: int) -> int | None:
    """Reviews to score in a round; None where that is the whole pool of the first round, and so of every round."""
    size = protocol.pool_subsample
    return None if size == "all" or size >= num_train - protocol.label_budgets[0] else size


def _arm(
    acquisition: str, mc_passes: int | None, drops_nothing: bool, num_classes: int, axis: Sequence[int]
) -> tuple[str, int | None, str | None, bool]:
    """The acquisition and T that a cell amounts to, the reason where they are not its own, and whether it is refused."""
    function = acquisition_function(acquisition)
    if function.min_passes > 1 and drops_nothing:
        return acquisition, mc_passes, f"{acquisition} is identically 0 without dropout: it picks as random", True
    if mc_passes is not None and mc_passes < function.min_passes and function.prediction == "mc":
        return acquisition, mc_passes, f"{acquisition} is identically 0 at T={mc_passes}: it picks as random", True
    notes = []
    if drops_nothing and acquisition in DETERMINISTIC_TWINS:
        notes.append(f"{acquisition} is {DETERMINISTIC_TWINS[acquisition]} without dropout")
        acquisition = DETERMINISTIC_TWINS[acquisition]
    if num_classes == 2 and acquisition in BINARY_TWINS:
        notes.append(f"{acquisition} ranks as {BINARY_TWINS[acquisition]} does with two classes")
        acquisition = BINARY_TWINS[acquisition]
    if acquisition_function(acquisition).prediction != "mc":
        if len(axis) > 1:
            notes.append(f"{acquisition} does not depend on T")
        mc_passes = None
    return acquisition, mc_passes, "; ".join(notes) or None, False


def classifier_source(study: Study) -> str | None:
    """The source of a classifier that is a plug-in: one study has one version of it.

    Raises:
        RequestError: it is not there.
    """
    try:
        return named_source(study.classifier) if is_plugin(study.classifier) else None
    except ImportError as error:
        raise RequestError(str(error)) from error


def _acquisition_sources(plan: Plan) -> dict[str, str]:
    """The sources of the acquisition functions that are plug-ins, by name."""
    return {name: named_source(name) for name in sorted({cell.acquisition for cell in plan.cells if is_plugin(cell.acquisition)})}


def plan_record(plan: Plan, study: Study, corpus: Corpus, earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """What ``plan.json`` holds: the corpus, and all cells that were ever asked for under this study's science.

    Cells of a plug-in that has been edited since are left out: their trajectories stay, but an arm is never mixed of two versions.
    """
    known: dict[str, str] = (earlier or {}).get("acquisition_sources", {})
    sources = known | _acquisition_sources(plan)
    edited = {name for name, source in known.items() if source != sources[name]}
    kept = [cell for cell in (earlier or {}).get("cells", []) if cell["acquisition"] not in edited]
    cells = {tuple(cell[name] for name in CELL_FIELDS[:4]): cell for cell in kept}
    cells |= {cell.key: {name: getattr(cell, name) for name in CELL_FIELDS} for cell in plan.cells}
    return {
        "study": study.study,
        "science_version": SCIENCE_VERSION,
        "corpus": describe_corpus(corpus),
        "classifier_source": classifier_source(study),
        "acquisition_sources": sources,
        "cells": list(cells.values()),
    }


CELL_FIELDS = ("seed", "acquisition", "dropout_rate", "mc_passes", "uses_passes", "trajectory_id", "note")


def describe_corpus(corpus: Corpus) -> dict[str, Any]:
    """The facts of a corpus that a reader of results needs."""
    return {
        "source": corpus.source,
        "digest": corpus.digest,
        "train_reviews": len(corpus.train),
        "test_reviews": len(corpus.test),
        "classes": list(corpus.class_names),
        "num_embeddings": corpus.num_embeddings,
    }
