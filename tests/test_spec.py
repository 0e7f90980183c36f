"""Identity is a contract: pinned ids, every field counts, nothing but plain types."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SpecFactory
from trainables.spec import SCIENCE_VERSION, TrajectorySpec

GOLDEN = TrajectorySpec(
    corpus="imdb:0123",
    seed=7,
    acquisition="bald",
    dropout_rate=0.25,
    mc_passes=10,
    embedding_dim=64,
    hidden_dim=64,
    pooling="mean",
    precision="float32",
    embedding_std=0.1,
    word_dropout=None,
    input_dropout=None,
    recurrent_dropout=None,
    output_dropout=None,
    learning_rate=2.0e-3,
    batch_size=32,
    min_steps=300,
    epochs=8.0,
    prior_length_scale=0.3,
    gradient_clip=1.0,
    warm_start=False,
    validation_fraction=0.0,
    label_budgets=(200, 400),
    pool_subsample=2000,
    eval_mc_passes=10,
    eval_mc_budgets=(400,),
)


def test_golden_ids() -> None:
    """These ids name results that exist: they change only together with SCIENCE_VERSION."""
    assert SCIENCE_VERSION == 2
    assert GOLDEN.trajectory_id == "294bfc0c9ec0be2d"
    full = dataclasses.replace(GOLDEN, acquisition="full_data", mc_passes=None, label_budgets=None, pool_subsample=None)
    assert full.trajectory_id == "7cc0cdef921eaf34"


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(TrajectorySpec)])
def test_every_field_enters_the_identity(field: str) -> None:
    value = getattr(GOLDEN, field)
    other = {str: "other", bool: True, int: 3, float: 0.125, tuple: (100, 400), type(None): 0.125}[type(value)]
    assert dataclasses.replace(GOLDEN, **{field: other}).trajectory_id != GOLDEN.trajectory_id


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 10**9), st.lists(st.integers(1, 10**6), min_size=1, max_size=5))
def test_json_round_trip(rate: float, seed: int, budgets: list[int]) -> None:
    spec = dataclasses.replace(GOLDEN, dropout_rate=rate, seed=seed, label_budgets=tuple(budgets))
    assert TrajectorySpec.from_json(spec.canonical_json()) == spec


def test_identity_refuses_what_has_no_unique_json() -> None:
    with pytest.raises(TypeError, match=r"TrajectorySpec\.seed holds np\.int64\(3\)"):
        _ = dataclasses.replace(GOLDEN, seed=np.int64(3)).trajectory_id


def test_a_spec_of_another_version_is_refused(spec: SpecFactory) -> None:
    values = json.loads(spec().canonical_json())
    with pytest.raises(ValueError, match="science version 0"):
        TrajectorySpec.from_json(json.dumps(values | {"science_version": 0}))


def test_resources_cannot_enter_an_identity() -> None:
    names = {f.name for f in dataclasses.fields(TrajectorySpec)}
    assert not names & {"threads", "device", "scoring_batch", "store_predictions", "storage", "path"}
