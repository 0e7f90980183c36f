"""Sealed ledgers with known accuracies, and what a report of them holds."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from sweep.data import load_corpus
from sweep.folder import StudyFolder
from sweep.plan import make_plan
from sweep.study import Study
from sweep.study_file import load_study
from tests.conftest import TINY_STUDY
from tests.planted import learning
from trainables.arrays import Floats32
from trainables.ledger import Ledger
from trainables.rounds import Round, Row
from trainables.spec import TrajectorySpec
from trainables.storage import LocalStorage

ROOT = Path(__file__).parent.parent


def seal(
    folder: StudyFolder,
    spec: TrajectorySpec,
    accuracies: list[float],
    *,
    weights: str | None = None,
    predictions: Mapping[str, Floats32] | None = None,
) -> None:
    """Write a trajectory whose accuracies, and predictions of the last round, are known."""
    ledger = Ledger(folder.trajectory(spec.trajectory_id), spec)
    ledger.read()
    attempt = ledger.begin_attempt("launch", {})
    for number, accuracy in enumerate(accuracies):
        last = number == len(accuracies) - 1
        row = Row(
            **{name: getattr(spec, name) for name in ("trajectory_id", "seed", "acquisition", "dropout_rate", "mc_passes")},
            **{f"{name}_{mode}": 0.5 for name in ("nll", "brier", "ece") for mode in ("deterministic", "mc")},
            round=number,
            num_labelled=(spec.label_budgets or (160,))[number],
            accuracy_deterministic=accuracy,
            accuracy_mc=accuracy + 0.01 if last else None,
            accuracy_validation=None,
            acquired_class_balance=None,
            acquired_mean_length=None,
            train_loss=0.1,
            train_objective=0.2,
            gradient_steps=12,
            train_seconds=1.0,
            score_seconds=1.0,
            evaluate_seconds=1.0,
            tokens_per_second=1.0,
            device="cpu",
            initial_set_hash=None if spec.acquisition == "full_data" else f"set-{spec.seed}",
            initial_weights_hash=weights or f"weights-{spec.seed}",
        )
        ledger.append(Round(row, (), predictions or {} if last else {}), attempt)
    ledger.seal()


def tiny() -> Study:
    return Study.model_validate(TINY_STUDY | {"baseline": {"full_data": False}, "protocol": {"label_budgets": [10, 20]}})


def planted_study(path: Path) -> None:
    """The quickstart's folder as a launch leaves it, but with accuracies that were made up instead of computed."""
    study = load_study(ROOT / "configs" / "quickstart.yaml")
    corpus = load_corpus(study.data, Console(quiet=True))
    folder, plan = StudyFolder(LocalStorage(path)), make_plan(study, corpus)
    folder.save(study, plan, corpus)
    rng = np.random.default_rng(0)
    for spec in plan.specs.values():
        budgets = spec.label_budgets or (len(corpus.train),)
        means = [learning(spec.acquisition, spec.dropout_rate, spec.mc_passes, labels) for labels in budgets]
        seal(folder, spec, [mean + float(rng.normal(0, 0.01)) for mean in means])
    folder.write_launch("20261101-120000", {"command": ["python"], "study": study.resolved(), "outcome": "finished"})


def found_in(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a JSON tree with its path; positions and seeds are left out of it."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}")
    elif isinstance(node, list):
        for value in node:
            yield from leaves(value, path)
    else:
        yield path.strip("."), node


def undocumented(folder: Path) -> set[str]:
    """Names in a report.json that docs/report.md does not explain; versions and hardware speak for themselves."""
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "report.md").read_text()))
    paths = [re.sub(r"((?:versions|hardware))\..*", r"\1", path).split(".") for path, _ in leaves(found_in(folder))]
    return {name for path in paths for name in path if re.fullmatch("[a-z][a-z0-9_]*", name)} - documented
