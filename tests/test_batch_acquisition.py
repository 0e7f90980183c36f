"""Batch-aware and drawing acquisition functions against cases worked by hand, brute force and the frequencies they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.distributions import keys, logs, random_log_probs, scores_along
from trainables import batch_acquisition
from trainables.acquisition import ACQUISITIONS, checked, select, select_greedily
from trainables.arrays import Rows
from trainables.batch_acquisition import badge, epig, k_center, power_bald
from trainables.scores import bald

LN2, LN3 = np.log(2), np.log(3)


class TestEpig:
    def test_by_hand(self) -> None:
        """Two networks certain of opposite classes: a review tells ln 2 of itself and of its copy, and nothing of the constant."""
        split, constant = [[1, 0], [0, 1]], [[1, 0], [1, 0]]
        scores = epig(logs([split, split, constant]), keys_N=keys(3))
        np.testing.assert_allclose(scores, [2 / 3 * LN2, 2 / 3 * LN2, 0], atol=1e-12)

    def test_by_hand_three_classes(self) -> None:
        """Three networks with a class each; and a review that is (1, 0, 0) under network 0 and (0, 1/2, 1/2) under 1 and 2.

        The first tells the network, so their information is H(half) - H(half | network) = ln 3 - 2/3 ln 2; of itself the second tells
        2 ln 3 - H(p(y, y*)), where p(y, y*) is 1/3 at (0, 0) and 1/6 at each of the four pairs of classes 1 and 2.
        """
        split, half = np.eye(3), [[1, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]]
        scores = epig(logs([split, half]), keys_N=keys(2))
        mutual = LN3 - 2 / 3 * LN2
        itself = 2 * LN3 - (LN3 / 3 + 4 / 6 * np.log(6))
        np.testing.assert_allclose(scores, [(LN3 + mutual) / 2, (mutual + itself) / 2], atol=1e-12)

    def test_reviews_that_are_independent_tell_nothing(self) -> None:
        """Four networks, two reviews that split them crosswise: each tells of itself only."""
        crossed = [[[1 - y, y] for y in row] for row in ([0, 0, 1, 1], [0, 1, 0, 1])]
        np.testing.assert_allclose(epig(logs(crossed), keys_N=keys(2)), [LN2 / 2, LN2 / 2], atol=1e-12)

    def test_targets_are_the_reviews_with_the_smallest_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batch_acquisition, "EPIG_TARGETS", 1)
        split, constant = [[1, 0], [0, 1]], [[1, 0], [1, 0]]
        log_probs = logs([split, constant])
        np.testing.assert_allclose(epig(log_probs, keys_N=np.array([0.1, 0.2])), [LN2, 0], atol=1e-12)
        assert (epig(log_probs, keys_N=np.array([0.2, 0.1])) == 0).all()

    @pytest.mark.parametrize("T", [1, 7])
    def test_networks_that_agree_tell_nothing(self, T: int) -> None:
        log_probs = np.repeat(random_log_probs(4, 300, 1, 3), T, axis=1)
        assert (epig(log_probs, keys_N=keys(300)) == 0).all()

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 10**6), T=st.integers(1, 5), C=st.integers(2, 4))
    def test_it_is_the_divergence_of_the_joint_from_the_product(self, seed: int, T: int, C: int) -> None:
        """Written out as in the paper: mean over targets of KL(p(y, y*) || p(y) p(y*)); between 0 and the review's own BALD."""
        log_probs = random_log_probs(seed, 6, T, C)
        probs = np.exp(log_probs)
        joint = np.einsum("ntc,mtd->nmcd", probs, probs) / T
        apart = np.einsum("nc,md->nmcd", probs.mean(axis=1), probs.mean(axis=1))
        expected = (joint * np.log(joint / apart)).sum(axis=(2, 3)).mean(axis=1)
        scores = epig(log_probs, keys_N=keys(6))
        np.testing.assert_allclose(scores, expected, atol=1e-12)
        assert (scores >= 0).all()
        assert (scores <= bald(log_probs) + 1e-12).all()  # the label tells of other labels only through the network


class TestPowerBald:
    def test_without_disagreement_it_ranks_as_random(self) -> None:
        log_probs = np.repeat(random_log_probs(5, 80, 1, 2), 4, axis=1)
        scores = power_bald(log_probs, keys_N=keys(80))
        assert (select(scores, keys(80), 80) == np.argsort(keys(80))).all()

    def test_the_best_is_a_draw_in_proportion_to_bald(self) -> None:
        """Gumbel-max: frequencies of the first choice over 20,000 sets of keys, within four standard errors."""
        p = np.array([0.5, 0.2, 0.02])
        log_probs = logs([[[1, 0], [1 - x, x]] for x in p])
        share = bald(log_probs) / bald(log_probs).sum()
        draws = np.random.default_rng(0).random((20_000, 3))
        counts = np.bincount([power_bald(log_probs, keys_N=own).argmax() for own in draws], minlength=3)
        assert (np.abs(counts / 20_000 - share) < 4 * np.sqrt(share * (1 - share) / 20_000)).all()

    def test_a_key_of_zero_is_finite(self) -> None:
        assert np.isfinite(power_bald(random_log_probs(6, 2, 3, 2), keys_N=np.array([0.0, 1 - 1e-16]))).all()


class TestKCenter:
    def test_farthest_first_on_a_line(self) -> None:
        """Labelled at 0; 10 is the farthest, then 4 (4 from 0, 6 from 10), then 7 (3 from both), then only copies are left."""
        line = np.array([[4.0], [10.0], [7.0], [0.0], [10.0]])
        steps = k_center(np.empty((5, 0, 2)), features_NH=line, labelled_features_MH=np.array([[0.0]]))
        expected = [[4, 10, 7, 0, 10], [4, 0, 3, 0, 0], [0, 0, 3, 0, 0], [0, 0, 0, 0, 0]]
        np.testing.assert_allclose(scores_along(steps, [1, 0, 2]), expected)

    def test_copies_are_at_distance_zero_exactly(self) -> None:
        features = np.random.default_rng(0).normal(5, 1, (40, 64)).astype(np.float32).astype(np.float64)
        first = next(k_center(np.empty((40, 0, 2)), features_NH=features, labelled_features_MH=features[::2]))
        assert (first[::2] == 0).all()
        expected = np.linalg.norm(features[1::2, None] - features[None, ::2], axis=2).min(axis=1)
        np.testing.assert_allclose(first[1::2], expected, rtol=1e-9)


class TestBadge:
    def test_the_second_is_a_draw_in_proportion_to_the_squared_distance(self) -> None:
        """Against gradients written out, three classes: frequencies over 20,000 draws, within four standard errors."""
        rng = np.random.default_rng(0)
        log_probs, features = random_log_probs(7, 4, 1, 3), rng.normal(size=(4, 5))
        errors = np.exp(log_probs[:, 0]) - np.eye(3)[log_probs[:, 0].argmax(axis=1)]
        gradients = np.einsum("nc,nh->nch", errors, features).reshape(4, -1)
        squared = ((gradients - gradients[2]) ** 2).sum(axis=1)
        share = squared / squared.sum()
        firsts = []
        for _ in range(20_000):
            steps = badge(log_probs, features_NH=features, rng=rng)
            assert (next(steps) == 0).all()
            firsts.append(int(steps.send(2).argmax()))
        counts = np.bincount(firsts, minlength=4)
        assert counts[2] == 0
        assert (np.abs(counts / 20_000 - share) <= 4 * np.sqrt(share * (1 - share) / 20_000)).all()

    def test_by_hand_two_classes(self) -> None:
        """P = (3/4, 1/4): the error is (-1/4, 1/4). With h = 1 and h = 3: gradients are 2 x 1/4 apart in both classes, D^2 = 1/2."""
        log_probs = logs([[[0.75, 0.25]], [[0.75, 0.25]], [[1, 0]]])
        features = np.array([[1.0], [3.0], [9.0]])
        steps = badge(log_probs, features_NH=features, rng=np.random.default_rng(0))
        next(steps)
        noise = np.random.default_rng(0).gumbel(size=3)
        scores = steps.send(0) - noise
        np.testing.assert_allclose(scores[1:], np.log([0.5, 2 * 0.25**2]))
        assert scores[0] < -700

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 10**6), C=st.integers(2, 4))
    def test_distances_are_those_of_the_gradients_written_out(self, seed: int, C: int) -> None:
        """Outer products of error and features, which the function never forms; its noise is known, and taken off."""
        log_probs, features = random_log_probs(seed, 9, 1, C), np.random.default_rng(seed).normal(size=(9, 5))
        errors = np.exp(log_probs[:, 0]) - np.eye(C)[log_probs[:, 0].argmax(axis=1)]
        gradients = np.einsum("nc,nh->nch", errors, features).reshape(9, -1)
        chosen, noise = [4, 0, 7], np.random.default_rng(seed)
        steps = badge(log_probs, features_NH=features, rng=np.random.default_rng(seed))
        next(steps)
        for length, position in enumerate(chosen, start=1):
            logs_of_squares = steps.send(position) - noise.gumbel(size=9)
            squares = ((gradients[:, None] - gradients[chosen[:length]]) ** 2).sum(axis=2).min(axis=1)
            others = np.setdiff1d(np.arange(9), chosen[:length])
            np.testing.assert_allclose(np.exp(logs_of_squares[others]), squares[others], rtol=1e-6, atol=1e-12)
            assert (logs_of_squares[chosen[:length]] < -700).all()

    def test_copies_do_not_run_out(self) -> None:
        log_probs, features = np.repeat(random_log_probs(8, 1, 1, 2), 6, axis=0), np.ones((6, 3))
        chosen = select_greedily(badge(log_probs, features_NH=features, rng=np.random.default_rng(0)), keys(6), 6, "badge")
        assert sorted(chosen) == list(range(6))


@pytest.mark.parametrize("name", ["batch_bald", "epig", "k_center", "badge", "power_bald"])
class TestAllOfThem:
    def choose(self, name: str, order: Rows, batch: int = 12) -> Rows:
        function = ACQUISITIONS[name]
        log_probs = random_log_probs(9, 60, 1 if function.prediction == "deterministic" else 4, 3)[order]
        features = np.random.default_rng(1).normal(size=(60, 8))[order]
        available = {
            "features": ("features_NH", features),
            "labelled": ("labelled_features_MH", np.random.default_rng(2).normal(size=(7, 8))),
            "keys": ("keys_N", keys(60)[order]),
            "rng": ("rng", np.random.default_rng(3)),
        }
        given = {available[need][0]: available[need][1] for need in function.needs}
        scores = function.score(log_probs, **given)
        if function.is_greedy:
            return select_greedily(scores, keys(60)[order], batch, name)
        return select(checked(scores, 60, name), keys(60)[order], batch)

    def test_the_size_of_parts_changes_nothing(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = self.choose(name, np.arange(60))
        monkeypatch.setattr(batch_acquisition, "HELD_NUMBERS", 50)
        assert (self.choose(name, np.arange(60)) == whole).all()
        assert len(set(whole.tolist())) == 12

    def test_the_order_of_the_reviews_changes_nothing(self, name: str) -> None:
        """But where noise is drawn review by review (badge)."""
        if name != "badge":
            order = np.random.default_rng(4).permutation(60)
            assert (order[self.choose(name, order)] == self.choose(name, np.arange(60))).all()
