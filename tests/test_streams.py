"""Streams are keyed by name and by nothing else, and stay what they are from release to release."""

import numpy as np

from trainables.streams import BATCH_ORDER, INITIAL_SET, mc_masks, stream


def test_golden_draws() -> None:
    """Another NumPy must give the same draws, or results of two releases could not be paired."""
    rng = stream(0, INITIAL_SET, 0)
    assert rng.permutation(10).tolist() == [2, 5, 1, 8, 6, 4, 3, 0, 7, 9]
    assert stream(1, mc_masks(0), 2).random(2).tolist() == [0.44628939908690335, 0.8277608704420577]


def test_a_stream_depends_on_seed_purpose_and_round() -> None:
    draws = [stream(*key).random() for key in [(0, BATCH_ORDER, 0), (1, BATCH_ORDER, 0), (0, INITIAL_SET, 0), (0, BATCH_ORDER, 1)]]
    assert len(set(draws)) == 4
    assert stream(0, BATCH_ORDER, 0).random() == draws[0]


def test_streams_of_neighbouring_names_are_uncorrelated() -> None:
    draws = np.stack([stream(seed, BATCH_ORDER, 0).random(2000) for seed in range(20)])
    off_diagonal = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(2000)
