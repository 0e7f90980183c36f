"""What many tests start from: a tiny corpus, a tiny trajectory and a tiny study, each done in well under a second of computing."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from analysis.elsewhere import read_table
from analysis.frames import Results
from trainables.corpus import Corpus, encode
from trainables.kernel import kernel
from trainables.sources.synthetic import SyntheticSource
from trainables.spec import TrajectorySpec

TINY_STUDY: dict[str, Any] = {
    "study": "tiny",
    "data": {"source": "synthetic", "train_size": 160, "test_size": 60, "max_tokens": 30},
    "model": {"embedding_dim": 8, "hidden_dim": 8},
    "training": {"learning_rate": 0.02, "batch_size": 8, "min_steps": 12, "epochs": 2},
    "protocol": {"label_budgets": [10, 20, 30, 40], "pool_subsample": 60, "eval_mc_passes": 3, "eval_mc_budgets": "last"},
    "grid": {"seeds": 2, "acquisition": ["random", "entropy"], "dropout_rate": 0.25, "mc_passes": 3},
}

IMDB_PATH = os.environ.get("IMDB_PATH")
"""As the tests were started with; each test sees it only if it asks for `imdb_path`."""

SpecFactory = Callable[..., TrajectorySpec]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus cache of all tests: never the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_surroundings(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AL_SWEEP_CACHE", str(cache))
    monkeypatch.delenv("IMDB_PATH", raising=False)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """160 training and 60 test reviews of two classes."""
    return encode("synthetic", SyntheticSource(160, 60, 2, 0).read(), max_tokens=30, vocabulary_size=10_000)


@pytest.fixture(scope="session")
def corpus3() -> Corpus:
    """The same with three classes."""
    return encode("synthetic", SyntheticSource(160, 60, 3, 0).read(), max_tokens=30, vocabulary_size=10_000)


@pytest.fixture(scope="session")
def spec(corpus: Corpus) -> SpecFactory:
    """Makes tiny specs: four rounds of a random arm, and what a test changes of it."""
    base = TrajectorySpec(
        corpus=corpus.digest,
        seed=0,
        acquisition="random",
        dropout_rate=0.25,
        mc_passes=None,
        embedding_dim=8,
        hidden_dim=8,
        pooling="mean",
        precision="float32",
        embedding_std=0.1,
        word_dropout=None,
        input_dropout=None,
        recurrent_dropout=None,
        output_dropout=None,
        learning_rate=0.02,
        batch_size=8,
        min_steps=12,
        epochs=2.0,
        prior_length_scale=0.1,
        gradient_clip=1.0,
        warm_start=False,
        validation_fraction=0.0,
        label_budgets=(10, 20, 30, 40),
        pool_subsample=60,
        eval_mc_passes=3,
        eval_mc_budgets=(40,),
    )
    return lambda **changes: dataclasses.replace(base, **changes)


@pytest.fixture(params=[True, False], ids=["compiled", "torch"])
def compiled(request: pytest.FixtureRequest) -> bool:
    """Both engines; the compiled one is skipped where there is no compiler."""
    if request.param and kernel() is None:
        pytest.skip("no C compiler")
    return bool(request.param)


StudyWriter = Callable[..., Path]


@pytest.fixture
def study_file(tmp_path: Path) -> StudyWriter:
    """Writes the tiny study, and what a test changes of it by section, to a file."""

    def write(**sections: Any) -> Path:
        content = dict(TINY_STUDY)
        for name, value in sections.items():
            content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) else value
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


RoundsReader = Callable[[pd.DataFrame], Results]


@pytest.fixture
def read(tmp_path: Path) -> RoundsReader:
    """Reads a table of rounds through the public door."""

    def read(table: pd.DataFrame) -> Results:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        table.to_parquet(path)
        return read_table(path)

    return read


@pytest.fixture
def imdb_path() -> Path:
    """The real reviews; the test is skipped without them."""
    if not IMDB_PATH:
        pytest.skip("IMDB_PATH does not name the real reviews")
    return Path(IMDB_PATH)
