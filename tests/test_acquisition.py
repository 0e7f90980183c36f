"""Scores against numbers known by hand; choosing, and the breaking of ties."""

from collections.abc import Generator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.distributions import keys
from trainables.acquisition import ACQUISITIONS, select, select_greedily
from trainables.arrays import Floats
from trainables.errors import ComputationError
from trainables.scores import bald, constant, entropy, least_confidence, margin, mean_std, variation_ratio

CERTAIN_OPPOSITE = [[1.0, 0.0], [0.0, 1.0]]
LN2, LN4 = np.log(2), np.log(4)


def logs(probs_NTC: list[list[list[float]]] | Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probs_NTC, dtype=float))


@pytest.mark.parametrize(
    ("score", "probs_TC", "expected"),
    [
        (entropy, [[0.25] * 4], LN4),
        (entropy, CERTAIN_OPPOSITE, LN2),
        (entropy, [[1.0, 0.0]], 0.0),
        (bald, CERTAIN_OPPOSITE, LN2),
        (bald, [[0.5, 0.5], [0.5, 0.5]], 0.0),
        (bald, [[1.0, 0.0], [1.0, 0.0]], 0.0),
        # H[(.5,.5)] - H[(.9,.1)] = ln 2 + .9 ln .9 + .1 ln .1
        (bald, [[0.9, 0.1], [0.1, 0.9]], LN2 + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)),
        (mean_std, CERTAIN_OPPOSITE, 0.5),
        (mean_std, [[0.9, 0.1], [0.5, 0.5]], 0.2),
        (variation_ratio, [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], 1 / 3),
        (variation_ratio, [[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.7, 0.2, 0.1]], 0.5),
        (margin, [[0.7, 0.2, 0.1]], -0.5),
        (least_confidence, [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]], 0.4),
    ],
)
def test_scores_known_by_hand(score: object, probs_TC: list[list[float]], expected: float) -> None:
    assert score(logs([probs_TC]))[0] == pytest.approx(expected, abs=1e-12)  # type: ignore[operator]


@pytest.mark.parametrize("passes", [2, 3, 7, 20])
@pytest.mark.parametrize("score", [bald, mean_std, variation_ratio])
def test_identical_passes_give_exactly_zero(score: object, passes: int) -> None:
    one_NC = np.random.default_rng(0).dirichlet([1, 1, 1], size=500)
    scores = score(np.repeat(np.log(one_NC)[:, None], passes, axis=1))  # type: ignore[operator]
    assert (scores == 0).all()


@pytest.mark.parametrize("score", [bald, mean_std, variation_ratio])
def test_one_pass_cannot_disagree_with_itself(score: object) -> None:
    assert (score(logs(np.random.default_rng(0).dirichlet([1, 1], size=(50, 1)))) == 0).all()  # type: ignore[operator]


@given(arrays(float, (4, 5, 3), elements=st.floats(1e-3, 1)))
def test_bounds(raw: Floats) -> None:
    log_probs = np.log(raw / raw.sum(axis=2, keepdims=True))
    assert (bald(log_probs) >= 0).all()
    assert (bald(log_probs) <= np.log(3) + 1e-12).all()
    assert (entropy(log_probs) >= bald(log_probs) - 1e-12).all()
    assert (mean_std(log_probs) >= 0).all()
    assert (variation_ratio(log_probs) < 1).all()


@given(arrays(float, (6, 4, 2), elements=st.floats(0.01, 1)))
def test_with_two_classes_entropy_margin_and_least_confidence_are_one_ranking(raw: Floats) -> None:
    log_probs = np.log(raw / raw.sum(axis=2, keepdims=True))
    nearness = -np.abs(np.exp(log_probs).mean(axis=1)[:, 0] - 0.5)
    for score in (entropy, margin, least_confidence):
        scores = score(log_probs)
        for i, j in np.ndindex(6, 6):
            if nearness[i] > nearness[j] + 1e-6:
                assert scores[i] > scores[j]


def test_random_ranks_by_the_keys_alone() -> None:
    keys = np.array([0.3, 0.1, 0.9, 0.2])
    assert select(constant(np.empty((4, 0, 2))), keys, 3).tolist() == [1, 3, 0]


def test_ties_are_broken_by_key_not_by_position() -> None:
    assert select(np.array([1.0, 2.0, 1.0, 2.0]), np.array([0.1, 0.9, 0.0, 0.2]), 3).tolist() == [3, 1, 2]


def test_a_score_that_cannot_tell_reviews_apart_picks_as_random_does() -> None:
    keys = np.random.default_rng(1).random(50)
    one_pass = logs(np.random.default_rng(2).dirichlet([1, 1], size=(50, 1)))
    for name in ("bald", "mean_std", "variation_ratio"):
        assert select(ACQUISITIONS[name].score(one_pass), keys, 10).tolist() == select(np.zeros(50), keys, 10).tolist()


class TestSelectGreedily:
    def test_ties_go_to_the_smaller_key_and_nothing_is_taken_twice(self) -> None:
        def constant() -> Generator[Floats, int, None]:
            while True:
                yield np.ones(9)

        assert (select_greedily(constant(), keys(9), 9, "constant") == np.argsort(keys(9))).all()

    def test_what_was_chosen_is_sent(self) -> None:
        sent = []

        def steps() -> Generator[Floats, int, None]:
            scores = np.array([3.0, 1.0, 2.0])
            while True:
                sent.append((yield scores))

        assert select_greedily(steps(), keys(3), 3, "steps").tolist() == [0, 2, 1]
        assert sent == [0, 2]

    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            ([np.zeros(3)], "mine ended after 1 of 2 reviews"),
            ([np.zeros(4)], r"mine gave scores of shape \(4,\) for 3 reviews; it must be \(3,\)"),
            ([np.zeros(3), np.array([0, np.nan, -np.inf])], "mine gave 2 scores that are not finite, of 3"),
        ],
    )
    def test_errors_name_the_function(self, scores: list[Floats], message: str) -> None:
        with pytest.raises(ComputationError, match=message):
            select_greedily((one for one in scores), keys(3), 2, "mine")  # type: ignore[arg-type]
