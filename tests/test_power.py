"""Floors by counting; detectable effects against the table of STATISTICS, published sample sizes and statsmodels.

Sources: Faul et al. 2007, "G*Power 3", Behavior Research Methods 39 (noncentral t); Brysbaert 2019, "How Many Participants Do We Have
to Include in Properly Powered Experiments?", Journal of Cognition 2 (two-sided paired t test, alpha .05, power .80).
"""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from sweep.power import MOST_SEEDS, POWER, mde, noninferiority_power, seeds_for, smallest_p

SIDES = pytest.mark.parametrize(("two_sided", "alternative"), [(True, "two-sided"), (False, "larger")])


@pytest.mark.parametrize(("seeds", "floor"), [(1, 1.0), (5, 0.0625), (6, 0.03125), (8, 0.0078125), (10, 0.001953125)])
def test_floors(seeds: int, floor: float) -> None:
    """2 of 2^n outcomes are at least as extreme as the most extreme one; 1 of them on its side."""
    assert smallest_p(seeds, two_sided=True) == floor
    assert smallest_p(seeds, two_sided=False) == floor / 2


@pytest.mark.parametrize(("seeds", "effect"), [(5, 1.68), (6, 1.44), (8, 1.16), (10, 1.00), (15, 0.78), (20, 0.66)])
def test_detectable_effects_of_the_table(seeds: int, effect: float) -> None:
    assert mde(seeds, 0.05) == pytest.approx(effect, abs=0.006)


@SIDES
@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.01])
@pytest.mark.parametrize("seeds", [3, 5, 6, 10, 20, 100])
def test_a_detectable_effect_is_found_with_the_promised_power(seeds: int, alpha: float, two_sided: bool, alternative: str) -> None:
    effect = mde(seeds, alpha, two_sided=two_sided)
    assert TTestPower().power(effect, seeds, alpha, alternative=alternative) == pytest.approx(POWER, abs=1e-6)


@SIDES
def test_two_seeds_and_fewer(two_sided: bool, alternative: str) -> None:
    """One difference has no spread; two have one degree of freedom, where the noncentral t is at its wildest."""
    assert mde(0, 0.05, two_sided=two_sided) == mde(1, 0.05, two_sided=two_sided) == math.inf
    effect = mde(2, 0.05, two_sided=two_sided)
    assert TTestPower().power(effect, 2, 0.05, alternative=alternative) == pytest.approx(POWER, abs=1e-5)


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.4, 52), (0.5, 34), (0.8, 15)])
def test_published_numbers_of_pairs(effect: float, seeds: int) -> None:
    assert seeds_for(effect, 0.05) == seeds


@settings(deadline=None)
@given(st.floats(0.02, 20), st.sampled_from([0.05, 0.025, 0.05 / 12, 0.001]), st.booleans())
def test_seeds_for_an_effect_are_enough_and_one_fewer_is_not(effect: float, alpha: float, two_sided: bool) -> None:
    seeds = seeds_for(effect, alpha, two_sided=two_sided)
    assert seeds is not None
    assert mde(seeds, alpha, two_sided=two_sided) <= effect
    assert smallest_p(seeds, two_sided=two_sided) <= alpha
    assert mde(seeds - 1, alpha, two_sided=two_sided) > effect or smallest_p(seeds - 1, two_sided=two_sided) > alpha


@pytest.mark.parametrize(
    ("alpha", "two_sided", "seeds"), [(0.05, True, 6), (0.05, False, 5), (0.025, True, 7), (0.025, False, 6), (0.001, True, 11)]
)
def test_however_large_an_effect_the_floor_stays(alpha: float, two_sided: bool, seeds: int) -> None:
    """The first n with 2^n at least 2/alpha or 1/alpha: 64 of 40, 32 of 20, 128 of 80, 64 of 40, 2,048 of 2,000."""
    assert seeds_for(1e6, alpha, two_sided=two_sided) == seeds_for(math.inf, alpha, two_sided=two_sided) == seeds


@pytest.mark.parametrize("effect", [0.0, -0.5, math.nan, 0.0028])
def test_effects_that_no_number_of_seeds_would_find(effect: float) -> None:
    """The normal limit at a million seeds is (1.960 + 0.842) / 1,000 = 0.002802."""
    assert seeds_for(effect, 0.05) is None
    assert mde(MOST_SEEDS, 0.05) == pytest.approx(0.0028016, abs=5e-7)


def test_power_to_show_non_inferiority() -> None:
    """STATISTICS: at n = 10 and an SD of 1 point, a margin of half a point has power .29; the unit does not matter."""
    assert noninferiority_power(10, 0.5, 1.0, 0.025) == pytest.approx(0.29, abs=0.005)
    assert noninferiority_power(10, 0.005, 0.01, 0.025) == pytest.approx(noninferiority_power(10, 0.5, 1.0, 0.025), rel=1e-9)


@pytest.mark.parametrize(("margin", "sd"), [(0.5, 1.0), (0.5, 0.5), (0.25, 0.5), (1.0, 0.5)])
@pytest.mark.parametrize("seeds", [6, 10, 20])
def test_power_to_show_non_inferiority_is_that_of_the_one_sided_t_test(seeds: int, margin: float, sd: float) -> None:
    expected = TTestPower().power(margin / sd, seeds, 0.025, alternative="larger")
    assert noninferiority_power(seeds, margin, sd, 0.025) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_below_the_floor_there_is_no_power(seeds: int) -> None:
    """1/2^5 is above .025, but not above .05."""
    assert noninferiority_power(seeds, 100.0, 1.0, 0.025) == 0
    assert noninferiority_power(5, 100.0, 1.0, 0.05) == pytest.approx(1, abs=1e-9)
