"""``python -m benchmarks.estimate [CONFIG] [--set k=v ...]``: what a study was estimated to cost, beside what it takes.

    estimated s   of all trajectories of an arm, by the rates that a launch here would go by
    took s        the same trajectories, computed: as many at once as trials would run beside each other, and without Ray
    ratio         estimated over took
    wall s        on the wall's clock; more than *took* where other programs want the cores too

Seconds are read from the clock that the calibration reads, so that a busy machine does not make an estimate look wrong.
"""

import argparse
import json
import multiprocessing
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sweep.arm import Arm
from sweep.data import load_corpus
from sweep.estimate import calibrate
from sweep.plan import make_plan
from sweep.runner import execution_of
from sweep.study import Study
from sweep.study_file import load_study
from trainables.calibration import trial_clock
from trainables.corpus import Corpus
from trainables.execution import make_deterministic
from trainables.spec import Execution, TrajectorySpec
from trainables.trajectory import rounds

Seconds = tuple[float, float, float]
"""Estimated, by the trial's clock, by the wall's clock."""

_shared: dict[str, Corpus] = {}


def _share(corpus: Corpus) -> None:
    """Give a process its corpus, once."""
    _shared["corpus"] = corpus


def compute(spec: TrajectorySpec, execution: Execution) -> tuple[float, float]:
    """Seconds of all rounds of a trajectory: by the trial's clock, and by the wall's."""
    make_deterministic(execution)
    clock = trial_clock(execution)
    began, wall_began = clock(), time.perf_counter()
    for _ in rounds(spec, _shared["corpus"], [], execution):
        pass
    return clock() - began, time.perf_counter() - wall_began


def measure(study: Study, corpus: Corpus) -> dict[str, Seconds]:
    """Seconds by arm, in the plan's order, over all seeds.

    Raises:
        RuntimeError: this machine cannot be calibrated.
    """
    plan, execution = make_plan(study, corpus), execution_of(study.resources)
    calibration = calibrate(plan, corpus, study.resources)
    estimated = calibration.seconds(plan)
    if estimated is None:
        raise RuntimeError(f"no estimate: {calibration.reason}")
    spawn = multiprocessing.get_context("spawn")
    found: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    with ProcessPoolExecutor(calibration.places, spawn, _share, (corpus,)) as pool:
        specs = list(plan.specs.values())
        for spec, took in zip(specs, pool.map(compute, specs, [execution] * len(specs)), strict=True):
            arm = str(Arm.of_spec(spec))
            found[arm] = [a + b for a, b in zip(found[arm], (sum(estimated[spec.trajectory_id]), *took), strict=True)]
    return {arm: (seconds[0], seconds[1], seconds[2]) for arm, seconds in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", nargs="?", type=Path, default=Path("configs/quickstart.yaml"), metavar="CONFIG", help="study file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a field, as in grid.seeds=1")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the seconds here too")
    options = parser.parse_args()
    study = load_study(options.config, options.set)
    by_arm = measure(study, load_corpus(study.data, Console(stderr=True)))
    table = Table("arm", "estimated s", "took s", "ratio", "wall s", box=None)
    in_all = [sum(seconds) for seconds in zip(*by_arm.values(), strict=True)]
    for arm, (estimated, took, wall) in [*by_arm.items(), ("all", in_all)]:
        table.add_row(arm, f"{estimated:.1f}", f"{took:.1f}", f"{estimated / took:.2f}", f"{wall:.1f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(by_arm, indent=1))


if __name__ == "__main__":
    main()
