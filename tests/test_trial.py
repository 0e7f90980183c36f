"""A trial's ways to end: memory that runs out is tried again once and smaller; a storage that is gone is told apart from a fault."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from sweep.lease import held
from sweep.outage import Outage
from sweep.runner import context_of
from sweep.sections import Resources
from tests.conftest import SpecFactory
from trainables import passes
from trainables.corpus import Corpus
from trainables.storage import LocalStorage
from trainables.tune_trainable import TrajectoryTrainable

Trial = Callable[..., TrajectoryTrainable]
CPU_ERROR = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Path]:
    with held(LocalStorage(tmp_path / "study"), "launch-1"):
        yield tmp_path / "study"


@pytest.fixture
def trial(study: Path, spec: SpecFactory, corpus: Corpus) -> Trial:
    """A trial of a tiny trajectory that acquires by entropy, in this process."""

    def make(**resources: Any) -> TrajectoryTrainable:
        context = context_of(
            str(study), Resources(**{"scoring_batch": 32, "storage_patience": 0.2, "compiled": False} | resources), "launch-1"
        )
        trainable = TrajectoryTrainable.__new__(TrajectoryTrainable)  # Ray's own set-up is not what is tested here
        one = spec(acquisition="entropy", mc_passes=3)
        trainable.setup({"spec": one.canonical_json()}, corpus=corpus, context=context)
        return trainable

    return make


def to_the_end(trainable: TrajectoryTrainable) -> dict[str, Any]:
    for _ in range(20):
        result = trainable.step()
        if result["done"]:
            return result
    raise AssertionError("the trial does not end")


def attempts(study: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(study.glob("trajectories/*/attempts/*.json"))]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Exception], None]:
    """Lets batches above a size run out of memory."""
    compute = passes.pooled_states

    def limit(reviews: int, error: Exception) -> None:
        def limited(weights: Any, token_ids_BL: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
            if len(token_ids_BL) > reviews:
                raise error
            return compute(weights, token_ids_BL, *others, **named)

        monkeypatch.setattr(passes, "pooled_states", limited)

    return limit


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), RuntimeError(CPU_ERROR), MemoryError()])
def test_out_of_memory_is_tried_again_with_smaller_batches(
    trial: Trial, study: Path, memory: Callable[[int, Exception], None], error: Exception
) -> None:
    memory(8, error)
    result = to_the_end(trial())
    assert (result["error"], result["rounds"]) == (None, 4)
    assert [(record["scoring_batch"], record["first_round"]) for record in attempts(study)] == [(32, 0), (8, 0)]
    assert next(study.glob("trajectories/*/trajectory.parquet")).exists()


def test_smaller_batches_change_rounding_at_most(trial: Trial, study: Path, memory: Callable[[int, Exception], None]) -> None:
    to_the_end(trial())
    whole = pq.read_table(next(study.glob("trajectories/*/trajectory.parquet")))
    shutil.rmtree(study / "trajectories")
    memory(8, MemoryError())
    to_the_end(trial())
    smaller = pq.read_table(next(study.glob("trajectories/*/trajectory.parquet")))
    assert smaller["acquired"] == whole["acquired"]
    assert smaller["nll_deterministic"].to_pylist() == pytest.approx(whole["nll_deterministic"].to_pylist(), rel=1e-5)


def test_out_of_memory_again_names_the_settings(trial: Trial, study: Path, memory: Callable[[int, Exception], None]) -> None:
    memory(2, RuntimeError(CPU_ERROR))
    result = to_the_end(trial())
    assert "out of memory on this machine" in result["error"]
    assert "at a scoring batch of 8 too: raise resources.cpu" in result["error"]
    assert "resources.scoring_batch" in result["error"]
    assert not result["storage_failed"]
    assert "out of memory" in json.loads(next(study.glob("trajectories/*/failure.json")).read_text())["error"]
    assert len(attempts(study)) == 2


def test_the_next_trial_of_the_process_has_its_whole_batch_again(
    trial: Trial, study: Path, memory: Callable[[int, Exception], None], spec: SpecFactory
) -> None:
    memory(8, MemoryError())
    trainable = trial()
    to_the_end(trainable)
    memory(10_000, MemoryError())
    trainable.reset_config({"spec": spec(seed=1).canonical_json()})
    to_the_end(trainable)
    assert sorted(record["scoring_batch"] for record in attempts(study)) == [8, 32, 32]


def test_another_error_is_not_tried_again(trial: Trial, study: Path, memory: Callable[[int, Exception], None]) -> None:
    memory(8, RuntimeError("shapes cannot be multiplied"))
    assert "RuntimeError: shapes cannot be multiplied" in to_the_end(trial())["error"]
    assert len(attempts(study)) == 1


def test_a_storage_that_goes_away_is_told_as_that(trial: Trial, study: Path) -> None:
    trainable = trial()
    assert trainable.step()["rounds"] == 1
    study.rename(study.with_name("away"))
    result = trainable.step()
    assert result["storage_failed"]
    assert result["done"]
    assert f"storage {study}/trajectories" in result["error"]
    assert not study.exists()
    study.with_name("away").rename(study)
    again = trial()
    assert to_the_end(again)["error"] is None
    assert [record["first_round"] for record in attempts(study)] == [0, 1]


class TestOutage:
    def test_it_is_total_when_all_that_ran_have_failed(self) -> None:
        outage = Outage()
        outage.failed({"b", "c"})
        assert not outage.is_total
        outage.failed({"c", "d"})
        assert not outage.is_total
        outage.failed({"d", "e"})
        assert outage.is_total

    def test_one_machine_that_lost_it_is_no_outage(self) -> None:
        outage = Outage()
        outage.failed({"b"})
        outage.worked()
        outage.failed({"d"})
        assert not outage.is_total

    def test_a_lone_trial_decides(self) -> None:
        outage = Outage()
        outage.failed(set())
        assert outage.is_total
