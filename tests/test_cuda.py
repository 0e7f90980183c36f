"""What must hold on a GPU as it does on a CPU; skipped where there is none."""

import numpy as np
import pytest
import torch

from tests.conftest import SpecFactory
from tests.test_trajectory import science
from trainables.corpus import Corpus
from trainables.execution import make_deterministic
from trainables.lstm import Lstm
from trainables.mc_dropout import Distributions
from trainables.spec import Execution
from trainables.trajectory import rounds

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

CUDA = Execution(device="cuda")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_going_on_is_the_same_as_never_having_stopped(spec: SpecFactory, corpus: Corpus, precision: str) -> None:
    make_deterministic(CUDA)
    tiny = spec(acquisition="bald", mc_passes=4, precision=precision)
    whole = list(rounds(tiny, corpus, [], CUDA))
    assert science([*whole[:2], *rounds(tiny, corpus, whole[:2], CUDA)]) == science(whole)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.02)])
def test_scores_agree_with_the_cpu_and_do_not_depend_on_the_batch(
    spec: SpecFactory, corpus: Corpus, precision: str, tolerance: float
) -> None:
    make_deterministic(CUDA)
    one = spec(precision=precision)
    weights = Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0)
    on_gpu = {name: value.cuda() for name, value in weights.items()}
    rows = np.arange(40)
    on_cpu = Distributions(Lstm(one, Execution()), weights, corpus.train, rows).stacked(3, 0)
    for batch in (64, 7):
        execution = Execution(device="cuda", scoring_batch=batch)
        found = Distributions(Lstm(one, execution), on_gpu, corpus.train, rows).stacked(3, 0)
        np.testing.assert_allclose(found, on_cpu, atol=tolerance)
