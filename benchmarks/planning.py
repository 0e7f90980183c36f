"""``python -m benchmarks.planning CELLS``: what it takes to plan a large study, in this process alone; JSON on standard output.

Measured are the reading of the study, the plan, and the writing of ``study.yaml`` and ``plan.json``. The memory is the most that the
process ever held, imports and all.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from sweep.folder import PLAN_FILE, StudyFolder
from sweep.plan import make_plan
from sweep.study import Study
from trainables.corpus import Corpus, Reviews
from trainables.storage import LocalStorage

CELLS_PER_SEED = 75
"""Of `large_study`."""


def large_study(seeds: int) -> Study:
    """The shape of the full study: six acquisition functions, three rates, four T; 57 trajectories a seed, most of them 20 rounds."""
    return Study.model_validate(
        {
            "study": f"large-{seeds}",
            "data": {"source": "synthetic"},
            "protocol": {"label_budgets": {"start": 250, "stop": 16_000, "growth": 1.25}, "eval_mc_budgets": "last"},
            "grid": {
                "seeds": seeds,
                "acquisition": ["random", "softmax_entropy", "entropy", "bald", "mean_std", "variation_ratio"],
                "dropout_rate": [0.1, 0.25, 0.5],
                "mc_passes": [5, 10, 20, 50],
            },
        }
    )


def corpus_of(num_train: int) -> Corpus:
    """As many one-word reviews as planning needs."""
    reviews = Reviews(np.full((num_train, 1), 2, np.int32), np.ones(num_train, np.int32), np.arange(num_train, dtype=np.int32) % 2)
    return Corpus("synthetic", reviews, reviews, ("neg", "pos"), 3)


def peak_mib() -> float:
    """The most memory that this process ever held; `getrusage` would count what the process that started it held then."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(cells: int) -> dict[str, Any]:
    """Plan at least so many cells, and write the plan."""
    corpus = corpus_of(25_000)
    began = time.perf_counter()
    study = large_study(-(-cells // CELLS_PER_SEED))
    plan = make_plan(study, corpus)
    planned = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        StudyFolder(LocalStorage(Path(folder))).save(study, plan, corpus)
        written = time.perf_counter()
        plan_bytes = (Path(folder) / PLAN_FILE).stat().st_size
    return {
        "cells": len(plan.cells),
        "trajectories": len(plan.specs),
        "plan_seconds": planned - began,
        "write_seconds": written - planned,
        "plan_bytes": plan_bytes,
        "peak_mib": peak_mib(),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
