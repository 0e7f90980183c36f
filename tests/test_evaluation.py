"""Metrics against numbers worked out by hand."""

import numpy as np
import pytest

from tests.conftest import SpecFactory
from trainables.corpus import Corpus
from trainables.evaluation import expected_calibration_error, metrics, predict
from trainables.lstm import Lstm
from trainables.mc_dropout import Distributions
from trainables.spec import Execution


def test_metrics_by_hand() -> None:
    probs = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    measured = metrics(np.log(probs).astype(np.float32), np.array([0, 1, 1], dtype=np.int32))
    assert measured.accuracy == pytest.approx(2 / 3)
    assert measured.nll == pytest.approx(-(np.log(0.8) + np.log(0.7) + np.log(0.4)) / 3, rel=1e-6)
    assert measured.brier == pytest.approx((2 * 0.2**2 + 2 * 0.3**2 + 2 * 0.6**2) / 3, rel=1e-6)
    # each review is alone in its bin: |1-.8| + |1-.7| + |0-.6|, over 3
    assert measured.ece == pytest.approx((0.2 + 0.3 + 0.6) / 3, rel=1e-6)


def test_ece_pools_within_a_bin() -> None:
    """Four reviews of confidence .75, three of them right: perfectly calibrated."""
    assert expected_calibration_error(np.full(4, 0.75), np.array([True, True, True, False])) == pytest.approx(0)
    assert expected_calibration_error(np.full(4, 1.0), np.array([True, False, False, False])) == pytest.approx(0.75)


def test_the_mc_prediction_is_the_mean_of_probabilities(spec: SpecFactory, corpus: Corpus) -> None:
    weights = {name: 3 * value for name, value in Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0).items()}
    rows = np.arange(len(corpus.test))
    passes = Distributions(Lstm(spec(), Execution()), weights, corpus.test, rows).stacked(4, 1)
    predicted = predict(Lstm(spec(), Execution()), weights, corpus.test, round_=1, mc_passes=4)
    np.testing.assert_allclose(np.exp(predicted["mc"]), np.exp(passes).mean(axis=1), rtol=1e-5)
    assert np.abs(predicted["mc"] - predicted["deterministic"]).max() > 1e-3
    assert set(predict(Lstm(spec(), Execution()), weights, corpus.test, round_=1, mc_passes=None)) == {"deterministic"}
