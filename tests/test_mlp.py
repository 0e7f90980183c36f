"""The MLP head against a network written out, and its thinned networks against masks by hand."""

import numpy as np
import pytest
import torch

from tests.conftest import SpecFactory
from tests.test_trajectory import acquired, run, science
from trainables.classifier import Batch, Weights
from trainables.corpus import Corpus, of_features
from trainables.errors import ComputationError
from trainables.mc_dropout import Distributions, ThinnedNetworks
from trainables.mlp import Mlp
from trainables.spec import Execution, TrajectorySpec
from trainables.training import fit

F = 6


@pytest.fixture(scope="module")
def vectors() -> Corpus:
    """160 training and 60 test vectors of two Gaussian classes."""
    rng = np.random.default_rng(3)

    def part(size: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(2, size=size).astype(np.int32)
        return (rng.normal(size=(size, F)) + 1.5 * np.eye(F)[labels]).astype(np.float32), labels

    return of_features("features", part(160), part(60), ("a", "b"))


@pytest.fixture
def mlp(spec: SpecFactory, vectors: Corpus) -> SpecFactory:
    fixed = {"corpus": vectors.digest, "classifier": "mlp", "embedding_dim": 0, "embedding_std": 0.0}
    return lambda **changes: spec(**{**fixed, **changes})


def weights_of(one: TrajectorySpec) -> Weights:
    return {name: 3 * value for name, value in Mlp(one, Execution()).initial_weights(F, 2, 0).items()}


def by_hand(weights: Weights, x_BF: torch.Tensor, mask_F: torch.Tensor, mask_H: torch.Tensor) -> torch.Tensor:
    hidden_BH = (x_BF * mask_F) @ weights["input"].T + weights["input_bias"]
    return (hidden_BH * (hidden_BH > 0) * mask_H) @ weights["output"].T + weights["output_bias"]


def test_a_thinned_network_masks_features_and_hidden_units(mlp: SpecFactory, vectors: Corpus) -> None:
    one = mlp(dropout_rate=0.5)
    weights = weights_of(one)
    thinned = ThinnedNetworks(Mlp(one, Execution()), weights, 0).of_pass(2)
    mask_F, mask_H = (thinned["input"] / weights["input"])[0], (thinned["output"] / weights["output"])[0]
    assert {round(value, 4) for value in [*mask_F.tolist(), *mask_H.tolist()]} == {0.0, 2.0}
    rows = np.arange(40)
    assert vectors.train.features_NF is not None
    expected = torch.log_softmax(by_hand(weights, torch.from_numpy(vectors.train.features_NF[:40]), mask_F, mask_H).double(), dim=1)
    found = Distributions(Mlp(one, Execution()), weights, vectors.train, rows).stacked(3, 0)
    np.testing.assert_allclose(found[:, 2], expected.numpy(), atol=1e-5)
    deterministic = Distributions(Mlp(one, Execution()), weights, vectors.train, rows).deterministic()
    plain = by_hand(weights, torch.from_numpy(vectors.train.features_NF[:40]), torch.ones(F), torch.ones(8))
    np.testing.assert_allclose(deterministic, torch.log_softmax(plain.double(), dim=1).numpy(), atol=1e-5)


def test_training_masks_are_drawn_per_review(mlp: SpecFactory, vectors: Corpus) -> None:
    """The same review twice in a batch meets two masks; without dropout it meets none."""
    for rate, alike in ((0.5, False), (0.0, True)):
        one = mlp(dropout_rate=rate)
        rows = np.zeros(2, dtype=np.int64)
        logits = Mlp(one, Execution()).training_logits_BC(weights_of(one), vectors.train, rows, np.random.default_rng(0))
        assert torch.equal(logits[0], logits[1]) is alike


def test_only_output_dropout_computes_the_hidden_layer_once(mlp: SpecFactory, vectors: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    compute = Mlp.hidden_NH
    monkeypatch.setattr(Mlp, "hidden_NH", lambda *arguments: computed.append(1) or compute(*arguments))
    for changes, times in (({"input_dropout": 0.0, "dropout_rate": 0.5}, 1), ({"dropout_rate": 0.5}, 4)):
        one = mlp(**changes)
        assert one.hidden_drops is Mlp(one, Execution()).hidden_drops is (times == 4)
        computed.clear()
        Distributions(Mlp(one, Execution()), weights_of(one), vectors.train, np.arange(9)).stacked(4, 0)
        assert len(computed) == times


def test_it_learns_and_its_weights_have_the_prior_of_their_sites(mlp: SpecFactory, vectors: Corpus) -> None:
    one = mlp(min_steps=200, dropout_rate=0.1)
    classifier = Mlp(one, Execution())
    fitted = fit(classifier, vectors.train, np.arange(100), classifier.initial_weights(F, 2, 0), 0)
    prior = 0.1**2 / (2 * 100 * 0.9) * sum(float(fitted.weights[name].double().square().sum()) for name in ("input", "output"))
    assert fitted.train_objective - fitted.train_loss == pytest.approx(prior)
    log_probs = Distributions(classifier, fitted.weights, vectors.test, np.arange(60)).deterministic()
    assert (log_probs.argmax(axis=1) == vectors.test.labels_N).mean() > 0.8


def test_trajectories_have_the_same_oracles(mlp: SpecFactory, vectors: Corpus) -> None:
    """One pass picks as random does; going on is the same as never having stopped; arms share their start."""
    random = run(mlp(), vectors)
    assert acquired(run(mlp(acquisition="bald", mc_passes=1), vectors)) == acquired(random)
    bald = run(mlp(acquisition="bald", mc_passes=4), vectors)
    assert acquired(bald) != acquired(random)
    assert bald[0].row.initial_weights_hash == random[0].row.initial_weights_hash
    assert science(run(mlp(acquisition="bald", mc_passes=4), vectors, bald[:2])) == science(bald)
    assert bald[0].row.acquired_mean_length == 1.0


def test_a_corpus_without_features_is_refused_with_the_round(mlp: SpecFactory, corpus: Corpus) -> None:
    with pytest.raises(ComputationError, match=r"round 0: the classifier mlp reads features, but the corpus \(synthetic\) has none"):
        run(mlp(corpus=corpus.digest), corpus)


def test_padding_of_a_batch_does_not_reach_it(mlp: SpecFactory) -> None:
    features = torch.randn(2, F)
    batches = [Batch(torch.ones(2, L, dtype=torch.int32), torch.ones(2, dtype=torch.int64), features) for L in (1, 5)]
    one = mlp()
    hidden = [Mlp(one, Execution()).hidden_BH(weights_of(one), batch) for batch in batches]
    assert torch.equal(hidden[0], hidden[1])
