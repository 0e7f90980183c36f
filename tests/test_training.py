"""The objective, its prior term, the learning-rate schedule and what happens to a loss that is not finite."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SpecFactory
from tests.test_spec import GOLDEN
from trainables.classifier import batch_of
from trainables.corpus import Corpus
from trainables.errors import ComputationError
from trainables.lstm import Lstm
from trainables.model import logits_BC
from trainables.spec import Execution
from trainables.training import fit, prior_coefficients


def test_weight_decay_known_by_hand(spec: SpecFactory) -> None:
    """l^2 = 1.25, p = .5: l^2 / (N (1-p)) is 1e-4 at N = 25,000 and 250 times that at N = 100."""
    half = spec(dropout_rate=0.5, prior_length_scale=1.25**0.5)
    assert 2 * prior_coefficients(Lstm(half, Execution()), Lstm.sites, 25_000)["input"] == pytest.approx(1e-4)
    assert 2 * prior_coefficients(Lstm(half, Execution()), Lstm.sites, 100)["input"] == pytest.approx(0.025)


def test_each_matrix_takes_the_rate_of_its_own_site(spec: SpecFactory) -> None:
    one_site = spec(dropout_rate=0.0, word_dropout=0.5, prior_length_scale=1.0)
    coefficients = prior_coefficients(Lstm(one_site, Execution()), Lstm.sites, 10)
    assert coefficients == pytest.approx({"embedding": 0.1, "input": 0.05, "recurrent": 0.05, "output": 0.05})


def test_the_objective_is_the_loss_plus_the_prior_of_the_final_weights(spec: SpecFactory, corpus: Corpus) -> None:
    fitted = fit(
        Lstm(spec(), Execution()), corpus.train, np.arange(20), Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0), 0
    )
    matrices = ("embedding", "input", "recurrent", "output")
    squares = sum(float(fitted.weights[name].double().square().sum()) for name in matrices)
    assert fitted.train_objective - fitted.train_loss == pytest.approx(0.1**2 / (2 * 20 * 0.75) * squares)


def test_a_step_is_adam_on_the_objective(spec: SpecFactory, corpus: Corpus) -> None:
    """One step, no dropout: Adam's first step moves every weight by lr against the sign of gradient + l^2/(N(1-p)) W."""
    tiny = spec(dropout_rate=0.0, min_steps=1, epochs=1e-9, batch_size=20, prior_length_scale=2.0, gradient_clip=1e9)
    rows = np.arange(20)
    start = Lstm(tiny, Execution()).initial_weights(corpus.num_embeddings, 2, 0)
    fitted = fit(Lstm(tiny, Execution()), corpus.train, rows, start, 0)
    leaves = {name: value.clone().requires_grad_() for name, value in start.items()}
    batch = batch_of(corpus.train, rows, "cpu")
    labels = torch.from_numpy(corpus.train.labels_N[rows].astype(np.int64))
    prior = 2.0**2 / (2 * 20) * sum(leaves[name].square().sum() for name in ("embedding", "input", "recurrent", "output"))
    loss = torch.nn.functional.cross_entropy(logits_BC(leaves, batch.token_ids_BL, batch.lengths_B, "mean"), labels)
    (loss + prior).backward()  # type: ignore[no-untyped-call]
    assert fitted.train_loss == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        step = (start[name] - fitted.weights[name]) / tiny.learning_rate
        clear = leaf.grad.abs() > 1e-4
        torch.testing.assert_close(step[clear], leaf.grad[clear].sign(), atol=2e-3, rtol=0)


@given(st.integers(1, 30_000), st.integers(1, 500), st.floats(0.1, 20))
def test_gradient_steps(num_reviews: int, min_steps: int, epochs: float) -> None:
    steps = replace(GOLDEN, min_steps=min_steps, epochs=epochs).gradient_steps(num_reviews)
    assert steps >= min_steps
    assert 32 * steps >= epochs * num_reviews - 1e-6
    assert steps == min_steps or 32 * (steps - 1) < epochs * num_reviews


def test_training_learns_what_it_is_shown(spec: SpecFactory, corpus: Corpus) -> None:
    longer = spec(min_steps=150, dropout_rate=0.1)
    fitted = fit(
        Lstm(longer, Execution()), corpus.train, np.arange(30), Lstm(longer, Execution()).initial_weights(corpus.num_embeddings, 2, 0), 0
    )
    assert fitted.train_loss < 0.2
    assert fitted.gradient_steps == 150


def test_training_leaves_its_start_alone(spec: SpecFactory, corpus: Corpus) -> None:
    start = Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0)
    before = {name: value.clone() for name, value in start.items()}
    fit(Lstm(spec(), Execution()), corpus.train, np.arange(20), start, 0)
    assert all(torch.equal(start[name], before[name]) for name in start)


def test_a_loss_that_is_not_finite_names_its_step(spec: SpecFactory, corpus: Corpus) -> None:
    start = Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0)
    start["output"][:] = torch.nan
    with pytest.raises(ComputationError, match=r"the training loss is nan at gradient step 0 of 12"):
        fit(Lstm(spec(), Execution()), corpus.train, np.arange(20), start, 0)
