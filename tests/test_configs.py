"""The shipped studies: they are valid, and their headers state the true number of trajectories and the command."""

import re
from pathlib import Path

import numpy as np
import pytest

from sweep.plan import make_plan
from sweep.study_file import load_study
from trainables.corpus import Corpus, Reviews

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
HEADER = re.compile(r"Trajectories: ([\d,]+) \(([\d,]+) of (\d+) rounds, ([\d,]+) full-data models\), from ([\d,]+) cells")


def reviews(size: int) -> Reviews:
    """As many one-word reviews as the real ones: planning looks at numbers only."""
    return Reviews(np.full((size, 1), 2, dtype=np.int32), np.ones(size, dtype=np.int32), np.arange(size, dtype=np.int32) % 2)


SIZES = {"imdb": (25_000, 25_000), "synthetic": (2_000, 1_000)}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_headers_are_true(path: Path) -> None:
    study = load_study(path)
    train, test = SIZES[study.data.source]
    plan = make_plan(study, Corpus(study.data.source, reviews(train), reviews(test), ("neg", "pos"), 3))
    text = path.read_text()
    match = HEADER.search(text)
    assert match, "the header must state its trajectories"
    stated = [int(number.replace(",", "")) for number in match.groups()]
    full = sum(spec.acquisition == "full_data" for spec in plan.specs.values())
    rounds = {spec.num_rounds for spec in plan.specs.values() if spec.acquisition != "full_data"}
    assert stated == [len(plan.specs), len(plan.specs) - full, rounds.pop(), full, len(plan.cells)]
    assert f"python -m sweep.launch configs/{path.name}" in text
    assert "Question:" in text
    assert re.search(r"Cost: .*\d", text), "the header must state a cost"
    assert study.study == path.stem


def test_the_shipped_studies() -> None:
    assert {path.stem for path in CONFIGS} == {"quickstart", "imdb-pilot", "imdb-study"}


def test_the_pilot_is_what_its_question_needs() -> None:
    pilot = load_study(Path(__file__).parent.parent / "configs" / "imdb-pilot.yaml")
    assert len(pilot.grid.seeds) == 10
    assert pilot.protocol.label_budgets == tuple(range(200, 2001, 200))
    assert pilot.protocol.mc_budgets == (200, 1000, 2000)
    assert pilot.baseline.full_data
