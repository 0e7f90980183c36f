"""Differences of accuracies are multiples of 1/25,000: ties and values on the margin are the rule, and float noise must not decide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.multiplicity import fixed_sequence, holm_over_sequences, step_down_max_t
from analysis.stats import paired_test, sign_flips, sign_test_p, wilcoxon_p

RNG = np.random.default_rng

counts = st.integers(15_000, 22_000)
reviews = st.lists(st.tuples(counts, counts), min_size=2, max_size=9)


def test_a_difference_on_the_margin_is_a_tie() -> None:
    """125 reviews of 25,000 short is half a point short, though floats have it at -.004999999999999893."""
    differences = np.array([19_892 / 25_000 - 20_017 / 25_000, 0.01, 0.02, 0.03, 0.01, 0.02])
    flips = sign_flips(differences, RNG(0))
    assert flips.p_greater(-0.005) == 2 / 64
    assert flips.lower_limit(0.025) == -0.005


@given(reviews, st.sampled_from([0.0, 0.005, -0.005, 0.0025]), st.sampled_from([0.025, 0.05, 0.1]))
def test_test_and_interval_never_contradict_each_other(pairs: list[tuple[int, int]], value: float, alpha: float) -> None:
    flips = sign_flips(np.array([a / 25_000 - b / 25_000 for a, b in pairs]), RNG(0))
    assert (flips.p_greater(value) <= alpha) == (flips.lower_limit(alpha) > value)
    assert (flips.p_less(value) <= alpha) == (flips.upper_limit(alpha) < value)


@given(st.lists(st.integers(4_990, 5_010), min_size=5, max_size=10))
def test_max_t_of_one_contrast_is_the_sign_flip_test(right: list[int]) -> None:
    """Nearly equal differences: every assignment but two is less extreme, and the observed one counts itself."""
    differences = np.array(right) / 25_000
    assert step_down_max_t(differences[:, None], RNG(0)) == [sign_flips(differences, RNG(0)).p_two_sided()]


def test_copies_of_a_null_contrast_stay_null() -> None:
    d = np.array([0, 0, 0, 3, 4, -7.0])
    assert step_down_max_t(np.column_stack([d, 2 * d, -d, d / 7]), RNG(0)) == [1, 1, 1, 1]


def test_equal_differences_have_no_spread() -> None:
    test = paired_test(np.full(3, 0.1), 0.05, RNG(0))
    assert test.sd == 0
    assert np.isnan([test.dz, test.p_t]).all()
    assert (test.t_low, test.t_high) == pytest.approx((0.1, 0.1))


def test_one_seed_bounds_nothing() -> None:
    test = paired_test(np.array([0.1]), 0.05, RNG(0))
    assert (test.t_low, test.t_high, test.ci_low, test.ci_high) == (-np.inf, np.inf, -np.inf, np.inf)


def test_float_noise_is_no_rank_and_no_sign() -> None:
    tenths = np.array([0.1, 0.2 - 0.1, 0.3 - 0.2, 0.4 - 0.3, -0.1, 0.5])
    assert wilcoxon_p(tenths) == wilcoxon_p(np.array([0.1, 0.1, 0.1, 0.1, -0.1, 0.5]))
    nothing = np.full(6, 0.1 + 0.2 - 0.3)
    assert wilcoxon_p(nothing) == sign_test_p(nothing) == 1


def test_what_is_no_p_value_rejects_nothing() -> None:
    assert fixed_sequence([float("nan")], 0.05) == 0
    assert holm_over_sequences([[float("nan")], [0.04]], 0.05) == [(0, 0.025), (0, 0.025)]


def test_joint_flips_need_every_seed_in_every_contrast() -> None:
    with pytest.raises(ValueError, match="finite differences of every seed"):
        step_down_max_t(np.array([[1, 2], [2, np.nan], [3, 4]]), RNG(0))


def test_above_sixteen_seeds_an_empty_draw_counts_as_the_observed_one() -> None:
    flips = sign_flips(np.arange(1.0, 18.0), RNG(0))
    assert flips.assignments == 20_000
    assert flips.p_greater() == flips.unflipped / 20_000
