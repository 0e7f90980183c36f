"""A seed is one replicate: counted twice it would make every interval too narrow, so a table that has it twice is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.report import main
from tests.planted import planted
from trainables.spec import FULL_DATA


def once_more(changes: dict[str, float], **where: object) -> pd.DataFrame:
    """A planted table with some of its rows a second time, changed."""
    table = planted()
    chosen = np.logical_and.reduce([table[name] == value for name, value in where.items()])
    return pd.concat([table, table[chosen].assign(**changes)], ignore_index=True)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("changes", "where", "named"),
    [
        ({}, {"acquisition": "entropy", "seed": 3}, "entropy p=0.25 T=10, seed 3,"),
        ({}, {"acquisition": "random", "seed": 7, "num_labelled": 400}, "random p=0.25, seed 7,"),
        ({"accuracy_deterministic": 0.9}, {"acquisition": "entropy", "seed": 3, "num_labelled": 1600}, "entropy p=0.25 T=10, seed 3,"),
        ({}, {"acquisition": FULL_DATA, "seed": 0}, "full_data p=0.25, seed 0,"),
    ],
    ids=["a trajectory", "a round", "a round that differs", "the full-data model"],
)
def test_a_seed_that_is_there_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, float], where: dict[str, Any], named: str, ending: str
) -> None:
    """Through the command: exit code 2, the arm and the seed named, and nothing written."""
    path, table = tmp_path / f"rounds{ending}", once_more(changes, **where)
    table.to_csv(path, index=False) if ending == ".csv" else table.to_parquet(path)
    assert main([str(path)]) == 2
    message = capsys.readouterr().err
    assert named in message
    assert "a seed counts once in an arm" in message
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labelled": 3200}, "full_data p=0.25, seed 0, has several rows; the full-data model has one"),
        ({"mc_passes": 10}, "full_data p=0.25, seed 0, has two results for 6,400 labels"),
    ],
)
def test_the_full_data_model_counts_once_a_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, float], message: str
) -> None:
    """A second row of it under another number of labels, or another T that means nothing, is no second result."""
    path = tmp_path / "rounds.csv"
    once_more(changes, acquisition=FULL_DATA).to_csv(path, index=False)
    assert main([str(path)]) == 2
    assert message in capsys.readouterr().err
