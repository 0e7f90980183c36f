"""What a study will cost: hours of cores or GPUs, wall time and money, from counts (`cost.py`) and rates measured on this machine.

Rates are measured by a short calibration (`trainables/calibration.py`), by as many processes at once as trials would run beside each other,
up to `MOST_COPIES`: two trials on two cores disturb each other, and one alone would promise too much. They are kept in the cache by
processor, code, and what was measured, so that a second dry run costs nothing.

On another machine the counts are the same and the rates are not: a study that is launched on a cluster is told at this machine's speed,
and says so. An estimate is a service: where none can be made, the reason is told, and nothing fails.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sweep.cost import Rates, Work
from sweep.plan import Plan
from sweep.runner import execution_of
from sweep.schedule import makespan, order_of_starts
from sweep.sections import Resources
from trainables.acquisition import acquisition_function
from trainables.cache import cache_folder
from trainables.corpus import Corpus
from trainables.node import code_version
from trainables.processor import processor_name
from trainables.spec import FULL_DATA, TrajectorySpec

MOST_COPIES = 4
"""Calibrations at once."""

CALIBRATION_SECONDS = 120
"""After which a calibration is given up."""

START_SECONDS = 8.0
"""Of a launch before its first round: Ray's processes, and the first trials' imports; measured on two cores."""

TOKENS = {"training": "trained_tokens", "scoring": "scored_tokens", "evaluation": "evaluated_tokens"}
"""What tokens of forward computation are for, with the name of their count."""

LENGTHS = 64
"""Lengths of reviews that stand for all: evenly spaced quantiles."""


@dataclass(frozen=True)
class Calibration:
    """Rates of this machine; or why there are none."""

    rates: Rates | None
    places: int
    """Trials that this machine holds beside each other."""
    reason: str | None = None

    def seconds(self, plan: Plan) -> dict[str, tuple[float, ...]] | None:
        """Of each round of each trajectory, by id."""
        return plan.by_round(self.rates.seconds) if self.rates else None


def calibrate(plan: Plan, corpus: Corpus, resources: Resources) -> Calibration:
    """Measure this machine for the trajectories of a plan, or recall what was measured."""
    request = _request(plan, corpus, resources)
    places = max(1, (os.cpu_count() or 1) // resources.cpu)
    path = cache_folder() / "calibrations" / f"{_key(plan, request, places)}.json"
    try:
        measured = _cached(path) or _measured(request, min(places, MOST_COPIES))
        rates = Rates(**{name: value for name, value in measured.items() if name != "devices"})
    except (OSError, ValueError, TypeError, KeyError, subprocess.SubprocessError) as error:
        return Calibration(None, places, _reason(error))
    _keep(path, measured)
    if resources.gpu:
        places = max(1, int(measured["devices"] / resources.gpu))
    return Calibration(rates, places)


def _request(plan: Plan, corpus: Corpus, resources: Resources) -> str:
    """What is measured, as the calibration reads it: of a trajectory that drops the most, with each function that takes time to choose."""
    specs = list(plan.specs.values())
    most = max(specs, key=lambda spec: (spec.hidden_drops, spec.dropout_rate, spec.trajectory_id))
    quantiles = np.quantile(corpus.train.lengths_N, np.linspace(0, 1, LENGTHS), method="nearest")
    request = {
        "spec": _shape(most).canonical_json(),
        "execution": asdict(execution_of(resources)),
        "acquisitions": _slow_choices(specs),
        "num_embeddings": corpus.num_embeddings,
        "num_features": corpus.num_features,
        "num_classes": len(corpus.class_names),
        "lengths": [int(length) for length in quantiles],
    }
    return json.dumps(request, sort_keys=True)


def _shape(spec: TrajectorySpec) -> TrajectorySpec:
    """The spec without what makes no difference to its speed, so that a calibration serves many studies."""
    nothing = {"acquisition": FULL_DATA, "mc_passes": None, "label_budgets": None, "pool_subsample": None, "eval_mc_passes": None}
    return replace(spec, corpus="", seed=0, eval_mc_budgets=(), learning_rate=1e-3, min_steps=1, epochs=1.0, plugins=(), **nothing)  # type: ignore[arg-type]


def _slow_choices(specs: Sequence[TrajectorySpec]) -> dict[str, int]:
    """The joint and batch-aware acquisition functions of a plan, each with its largest T."""
    found: dict[str, int] = {}
    for name, passes in {(spec.acquisition, spec.mc_passes or 1) for spec in specs if spec.acquisition != FULL_DATA}:
        function = acquisition_function(name)
        if function.joint or function.is_greedy:
            found[name] = max(passes, found.get(name, 1))
    return found


def _key(plan: Plan, request: str, places: int) -> str:
    plugins = sorted({stated for spec in plan.specs.values() for stated in spec.plugins})
    facts = (processor_name(), code_version().digest, places, plugins, request)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _cached(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    whole = {"devices", *(f.name for f in fields(Rates))}
    return found if isinstance(found, dict) and set(found) == whole else None


def _keep(path: Path, measured: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measured))
    except OSError:
        return  # measured again the next time: a cache is no record


def _measured(request: str, copies: int) -> dict[str, Any]:
    """The mean of what so many calibrations at once measure.

    Raises:
        OSError, ValueError, SubprocessError: it cannot be measured here.
    """
    command = [sys.executable, "-m", "trainables.calibration"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or "." for entry in sys.path)}

    def one(_: int) -> dict[str, Any]:
        done = subprocess.run(
            command, input=request, capture_output=True, text=True, check=True, timeout=CALIBRATION_SECONDS, env=environment
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    with ThreadPoolExecutor(copies) as pool:
        found = list(pool.map(one, range(copies)))
    names = [name for name in found[0] if name not in ("choice_seconds", "devices")]
    means = {name: float(np.mean([one[name] for one in found])) for name in names}
    choices = {name: float(np.mean([one["choice_seconds"][name] for one in found])) for name in found[0]["choice_seconds"]}
    return means | {"choice_seconds": choices, "devices": found[0]["devices"]}


def _reason(error: Exception) -> str:
    """In a line, why nothing was measured."""
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in str(error.stderr).splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"the calibration ended with exit code {error.returncode}"
    return f"{type(error).__name__}: {error}"


def estimate(plan: Plan, calibration: Calibration, resources: Resources, done: Mapping[str, int]) -> dict[str, Any]:
    """What the trajectories that are left will cost, and the whole study; as plain values.

    Args:
        plan: of the study.
        calibration: of this machine.
        resources: of one trial; the price is of an hour of a core, or of a GPU where trials use some.
        done: of each trajectory that is to be run, the number of rounds that are finished.

    Returns:
        ``tokens`` of forward computation that are left by kind; ``unit`` (core or GPU); ``hours`` that are left and ``hours_in_all``;
        ``wall_seconds`` on ``places``; ``money`` and ``money_in_all`` at ``price_per_hour``. None where it is not known, and ``reason``
        says why.
    """
    tokens = {kind: plan.by_round(partial(_tokens, kind)) for kind in TOKENS}
    share, unit = (resources.gpu, "GPU") if resources.gpu else (resources.cpu, "core")
    seconds, price = calibration.seconds(plan), resources.price_per_hour
    found: dict[str, Any] = {
        "tokens": {kind: math.fsum(_left(by_round, done)) for kind, by_round in tokens.items()},
        "unit": unit,
        "places": calibration.places,
        "price_per_hour": price,
        "reason": calibration.reason,
    }
    hours = hours_in_all = wall_seconds = None
    if seconds is not None:
        each = _left(seconds, done)
        hours, hours_in_all = math.fsum(each) * share / 3600, math.fsum(map(sum, seconds.values())) * share / 3600
        order = order_of_starts(each, calibration.places)
        wall_seconds = START_SECONDS + makespan(each, order, calibration.places) if each else 0.0
    return found | {
        "hours": hours,
        "hours_in_all": hours_in_all,
        "wall_seconds": wall_seconds,
        "money": None if hours is None or price is None else hours * price,
        "money_in_all": None if hours_in_all is None or price is None else hours_in_all * price,
    }


def _tokens(kind: str, work: Work, _: str) -> float:
    return float(getattr(work, TOKENS[kind]))


def _left(by_round: Mapping[str, Sequence[float]], done: Mapping[str, int]) -> list[float]:
    """What the rounds that are not finished add up to, of each trajectory that is to be run."""
    return [sum(by_round[trajectory_id][rounds:]) for trajectory_id, rounds in done.items()]


def actual(resources: Resources, computed_seconds: float, estimated_seconds: float | None, wall_seconds: float) -> dict[str, Any]:
    """What a launch has cost, beside what had been estimated for exactly the rounds that it finished.

    Returns:
        ``hours`` of cores or GPUs that were computed, ``estimated_hours``, their ``ratio`` (estimate over actual), and ``wall_seconds``.
    """
    share = resources.gpu or resources.cpu
    return {
        "hours": computed_seconds * share / 3600,
        "estimated_hours": None if estimated_seconds is None else estimated_seconds * share / 3600,
        "ratio": estimated_seconds / computed_seconds if estimated_seconds and computed_seconds else None,
        "wall_seconds": wall_seconds,
    }
