"""BatchBALD against cases worked by hand, and against all configurations of labels."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.distributions import keys, log_probs_along_directions, logs, random_log_probs, scores_along
from trainables import batch_acquisition
from trainables.acquisition import select, select_greedily
from trainables.arrays import Floats, Rows
from trainables.batch_acquisition import batch_bald
from trainables.scores import bald, entropy_of

LN2, LN3 = np.log(2), np.log(3)


def _likelihood_T(probs_NTC: Floats, batch: list[int], labels: tuple[int, ...]) -> Floats:
    """What each network says of one configuration of labels."""
    return np.prod([probs_NTC[n, :, y] for n, y in zip(batch, labels, strict=True)], axis=0)


class TestBatchBald:
    @staticmethod
    def joint_information(log_probs_NTC: Floats, batch: Rows) -> float:
        """H[labels of the batch] - sum of mean_t H[p_t], over all configurations: what `batch_bald` is greedy for."""
        probs = np.exp(log_probs_NTC[batch])
        joint_KT = np.ones((1, probs.shape[1]))
        for own_TC in probs:
            joint_KT = (joint_KT[:, None] * own_TC.T).reshape(-1, probs.shape[1])
        return float(entropy_of(joint_KT.mean(axis=1)) - entropy_of(probs).mean(axis=1).sum())

    @staticmethod
    def scores_with(monkeypatch: pytest.MonkeyPatch, states: int, log_probs: Floats, order: list[int], seed: int = 0) -> Floats:
        monkeypatch.setattr(batch_acquisition, "MAX_STATES", states)
        return np.array(scores_along(batch_bald(log_probs, rng=np.random.default_rng(seed)), order))

    def test_by_hand_two_classes(self) -> None:
        """Four equally likely networks; review 0 splits them in halves, 1 is its copy, 2 splits each half, 3 says nothing."""
        certain = {0: [0, 0, 1, 1], 1: [0, 0, 1, 1], 2: [0, 1, 0, 1], 3: [0, 0, 0, 0]}
        log_probs = logs([[[1 - y, y] for y in row] for row in certain.values()])
        first, second, third = scores_along(batch_bald(log_probs, rng=np.random.default_rng(0)), [0, 2])
        np.testing.assert_allclose(first, [LN2, LN2, LN2, 0], atol=1e-12)
        np.testing.assert_allclose(second, [0, 0, LN2, 0], atol=1e-12)  # the copy adds nothing, the other split a bit
        assert (third == 0).all()  # ln 4 is all that four networks hold

    def test_by_hand_three_classes(self) -> None:
        """Three networks, each certain of its own class: one label tells which it is, ln 3, and a copy adds nothing."""
        each_its_own = np.eye(3)[[0, 1, 2]]
        log_probs = logs([each_its_own, each_its_own, np.full((3, 3), 1 / 3)])
        first, second = scores_along(batch_bald(log_probs, rng=np.random.default_rng(0)), [0])
        np.testing.assert_allclose(first, [LN3, LN3, 0], atol=1e-12)
        assert (second == 0).all()

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 10**6), T=st.integers(2, 5), C=st.integers(2, 3))
    def test_gains_add_up_to_the_joint_information_by_enumeration(self, seed: int, T: int, C: int) -> None:
        log_probs = random_log_probs(seed, 5, T, C)
        probs = np.exp(log_probs)
        order = [3, 0, 4]
        gains = scores_along(batch_bald(log_probs, rng=np.random.default_rng(0)), order)
        total = 0.0
        for length, position in enumerate([*order, 1], start=1):
            batch = [*order, 1][:length]
            joint = np.array([_likelihood_T(probs, batch, labels) for labels in product(range(C), repeat=length)])
            information = entropy_of(joint.mean(axis=1)[None])[0] - sum(entropy_of(probs[n]).mean() for n in batch)
            total += gains[length - 1][position]
            assert total == pytest.approx(information, abs=1e-9)
            assert total <= np.log(T) + 1e-9

    def test_drawn_states_agree_with_all_states(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """2^10 configurations, exactly, against 300 times 40 drawn ones.

        Their mean within four standard errors (for 30 reviews at once; the largest was 2.0), each within .03 nats of at most .10 (the
        largest of 9,000 errors was .023).
        """
        log_probs = 0.3 * random_log_probs(1, 30, 8, 2)
        log_probs -= np.log(np.exp(log_probs).sum(axis=2, keepdims=True))
        order = list(range(10))
        exact = self.scores_with(monkeypatch, 1024, log_probs, order)
        drawn = np.array([self.scores_with(monkeypatch, 40, log_probs, order, seed) for seed in range(300)])
        assert (drawn[:, 5] == exact[5]).all()  # 2^5 states are all of them in both
        error = drawn[:, -1].std(axis=0) / np.sqrt(300)
        assert (np.abs(drawn[:, -1].mean(axis=0) - exact[-1]) < 4 * error).all()
        assert np.abs(drawn[:, -1] - exact[-1]).max() < 0.03
        assert exact[-1].max() > 0.1

    def test_a_review_on_which_the_networks_agree_adds_exactly_nothing_to_drawn_states_either(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And none adds less than nothing: draws that favour some networks must not look like information."""
        log_probs = random_log_probs(10, 40, 6, 3)
        log_probs[::4] = log_probs[::4, :1]
        for scores in self.scores_with(monkeypatch, 20, log_probs, list(range(1, 40, 3))):
            assert (scores[::4] == 0).all()
            assert (scores >= 0).all()

    @pytest.mark.parametrize("C", [2, 3])
    def test_drawn_states_choose_almost_as_well_as_all_states(self, C: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Joint information of the batch, by enumeration: with 100 drawn states on average within .5% of the exact choice's.

        Reviews lie along three directions, so that those of the largest BALD repeat each other: together they tell 4 to 8% less. A second
        term of mean_t H[p_t] lost 1 to 2%.
        """
        log_probs = log_probs_along_directions(200, C, directions=3, scale=1)
        batch = {2: 12, 3: 8}[C]

        def information(states: int, seed: int) -> float:
            monkeypatch.setattr(batch_acquisition, "MAX_STATES", states)
            steps = batch_bald(log_probs, rng=np.random.default_rng(seed))
            return self.joint_information(log_probs, select_greedily(steps, keys(200), batch, "batch_bald"))

        exact = information(C**batch, 0)
        assert self.joint_information(log_probs, select(bald(log_probs), keys(200), batch)) < 0.97 * exact
        assert np.mean([information(100, seed) for seed in range(10)]) > 0.995 * exact

    def test_states_are_drawn_where_something_is_left_to_learn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """After 45 reviews little is left, in few states. The gains vary by half their mean; drawn by probability alone, by all of it."""
        log_probs = log_probs_along_directions(60, 2, directions=6, scale=2)
        late = np.array([self.scores_with(monkeypatch, 50, log_probs, list(range(45)), seed)[-1] for seed in range(60)])
        assert late.std(axis=0).mean() < 0.7 * late.mean()

    def test_labels_that_are_impossible_make_no_states(self) -> None:
        """Four networks that are certain: a copy has one possible label, and two reviews that differ tell all there is, ln 4."""
        certain = [[0, 0, 1, 1], [0, 1, 0, 1]] * 2
        log_probs = logs([[[1 - y, y] for y in row] for row in certain])
        gains = scores_along(batch_bald(log_probs, rng=np.random.default_rng(0)), [0, 2, 1, 3])
        np.testing.assert_allclose(gains[:3], [[LN2] * 4, [0, LN2] * 2, [0, LN2] * 2], atol=1e-12)
        assert (np.array(gains[3:]) == 0).all()

    def test_little_left_is_not_nothing(self) -> None:
        """Two networks, certain of opposite classes but for 10^-6: a first review leaves some 10^-5 nats, and a copy tells most of them."""
        log_probs = logs([[[1 - 1e-6, 1e-6], [1e-6, 1 - 1e-6]]] * 2)
        _, second = scores_along(batch_bald(log_probs, rng=np.random.default_rng(0)), [0])
        added = self.joint_information(log_probs, np.array([0, 1])) - self.joint_information(log_probs, np.array([0]))
        assert 1e-6 < added < 1e-4
        np.testing.assert_allclose(second, added, atol=1e-12)

    def test_copies_score_alike(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """To the last bit, or the tie would be broken by position."""
        log_probs = np.tile(random_log_probs(12, 25, 7, 3), (8, 1, 1))
        for scores in self.scores_with(monkeypatch, 30, log_probs, list(range(6))):
            assert (scores.reshape(8, 25) == scores[:25]).all()

    def test_the_first_is_balds_first(self) -> None:
        log_probs = random_log_probs(2, 200, 6, 3)
        first = next(batch_bald(log_probs, rng=np.random.default_rng(0)))
        assert (first == bald(log_probs)).all()

    @pytest.mark.parametrize("T", [1, 3])
    def test_networks_that_agree_leave_the_choice_to_the_keys(self, T: int) -> None:
        log_probs = np.repeat(random_log_probs(3, 50, 1, 2), T, axis=1)
        chosen = select_greedily(batch_bald(log_probs, rng=np.random.default_rng(0)), keys(50), 20, "batch_bald")
        assert (chosen == np.argsort(keys(50))[:20]).all()
