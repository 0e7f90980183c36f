"""Batch-aware and drawing acquisition functions against cases worked by hand, brute force and the frequencies they promise."""

from collections.abc import Generator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables import batch_acquisition
from trainables.acquisition import ACQUISITIONS, checked, select, select_greedily
from trainables.arrays import Floats, Rows
from trainables.batch_acquisition import badge, batch_bald, epig, k_center, power_bald
from trainables.errors import ComputationError
from trainables.scores import bald, entropy_of

LN2, LN3 = np.log(2), np.log(3)


def logs(probs: object) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probs, dtype=np.float64))


def random_log_probs(seed: int, N: int, T: int, C: int) -> Floats:
    probs = np.random.default_rng(seed).dirichlet(np.full(C, 0.5), size=(N, T)) + 1e-9
    return np.log(probs / probs.sum(axis=2, keepdims=True))


def log_probs_along_directions(N: int, C: int, directions: int, scale: float) -> Floats:
    """Of 12 networks that are linear in few features: reviews repeat each other."""
    rng = np.random.default_rng(12)
    features, networks = rng.normal(size=(N, directions)), rng.normal(size=(12, directions, C))
    logits = scale * np.einsum("nk,tkc->ntc", features, networks) / np.sqrt(directions)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=2, keepdims=True)))


def scores_along(steps: Generator[Floats, int, None], chosen: list[int]) -> list[Floats]:
    """The scores given nothing, then given each further review of a batch."""
    return [next(steps), *(steps.send(position) for position in chosen)]


def keys(N: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).random(N)


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
