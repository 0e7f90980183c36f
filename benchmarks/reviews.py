"""What the benchmarks of the science share: reviews, specs, and how variants are timed against each other."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.console import Console

from sweep.data import load_corpus
from sweep.plan import make_plan
from sweep.study import Study
from trainables.corpus import Corpus, Reviews
from trainables.spec import TrajectorySpec

LENGTHS = (7, 64, 90, 110, 120, 128, 135, 143, 152, 163, 175, 189, 205, 225, 250, 282, 321, 374, 453, 592, 2503)
"""Tokens of the 50,000 IMDB reviews: the shortest, every twentieth part, the longest."""

VOCABULARY = 10_000


def invented_reviews(size: int, max_tokens: int) -> Reviews:
    """Reviews as long as real ones, of words as frequent as words are (Zipf 1949); labels mean nothing."""
    rng = np.random.default_rng(0)
    lengths = np.interp(rng.random(size), np.linspace(0, 1, len(LENGTHS)), LENGTHS)
    lengths_N = np.minimum(lengths, max_tokens).astype(np.int32)
    frequency_V = 1 / np.arange(1, VOCABULARY + 1)
    token_ids_NL = (rng.choice(VOCABULARY, (size, max_tokens), p=frequency_V / frequency_V.sum()) + 2).astype(np.int32)
    token_ids_NL[np.arange(max_tokens) >= lengths_N[:, None]] = 0
    return Reviews(token_ids_NL, lengths_N, rng.integers(0, 2, size).astype(np.int32))


def seconds_in_turn(variants: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each variant, `repeats` times: all in turn, so that noise of the machine meets all alike; once before, untimed."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, compute in variants.items():
            began = time.perf_counter()
            compute()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def corpus(max_tokens: int = 200) -> tuple[dict[str, Any], Corpus]:
    """The ``data`` section, and what it holds."""
    real = bool(os.environ.get("IMDB_PATH"))
    data: dict[str, Any] = {"source": "imdb"} if real else {"source": "synthetic", "train_size": 4_000, "test_size": 2_000}
    data["max_tokens"] = max_tokens
    return data, load_corpus(study(data, {}).data, Console(stderr=True))


def study(data: dict[str, Any], sections: dict[str, Any]) -> Study:
    """A study of one seed and one arm, but for what `sections` says otherwise."""
    content: dict[str, Any] = {
        "study": "benchmark",
        "data": data,
        "protocol": {"label_budgets": [200, 400], "eval_mc_budgets": "none"},
        "grid": {"seeds": 1, "acquisition": "bald", "dropout_rate": 0.25, "mc_passes": 20},
        "baseline": {"full_data": False},
    }
    merged = {name: {**content.get(name, {}), **section} for name, section in sections.items()}
    return Study.model_validate(content | merged)


def specs(data: dict[str, Any], on: Corpus, **sections: Any) -> list[TrajectorySpec]:
    """The trajectories of such a study."""
    return list(make_plan(study(data, sections), on).specs.values())
