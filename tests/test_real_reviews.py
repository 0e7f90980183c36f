"""The real Large Movie Review Dataset, where ``IMDB_PATH`` names it."""

import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sweep.data import load_corpus
from sweep.data_sections import ImdbData
from tests.launching import Launch

PILOT = Path(__file__).parent.parent / "configs" / "imdb-pilot.yaml"


@pytest.fixture
def imdb_environment(imdb_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMDB_PATH", str(imdb_path))
    return imdb_path


def test_the_corpus_is_the_one_that_results_were_measured_on(imdb_environment: Path) -> None:
    corpus = load_corpus(ImdbData(source="imdb"), Console(quiet=True))
    assert corpus.digest == "imdb:c982ca4c1ecd144d5be62c14965b3296c8bc6480c1487000312de19c83dd2e4e"
    assert (len(corpus.train), len(corpus.test)) == (25_000, 25_000)
    assert corpus.train.labels_N.sum() == corpus.test.labels_N.sum() == 12_500
    assert corpus.num_embeddings == 10_002


@pytest.mark.slow
def test_the_pilot_reaches_what_is_expected(imdb_environment: Path, tmp_path: Path) -> None:
    """One seed of the pilot: the full-data model at .85 or more, random choice at 2,000 labels between .74 and .82."""
    launch = Launch(PILOT, tmp_path / "results", "--set", "grid.seeds=1")
    assert launch.process.wait(3_600) == 0, launch.output
    print(launch.output)
    report = json.loads((tmp_path / "results" / "imdb-pilot" / "report" / "report.json").read_text())
    final = {curve["acquisition"]: curve["budgets"][-1]["estimate"] for curve in report["curves"]}
    assert report["full_data"][0]["estimate"] >= 0.85
    assert 0.74 <= final["random"] <= 0.82
    rounds = pd.read_parquet(tmp_path / "results" / "imdb-pilot" / "report" / "rounds.parquet")
    assert len(rounds) == 41
    assert (rounds.groupby("acquisition")["initial_weights_hash"].first().nunique()) == 1
