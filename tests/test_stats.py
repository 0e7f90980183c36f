"""Statistics against published examples, against scipy as an oracle, and against what is counted by hand.

Sources: Fisher 1935, "The Design of Experiments", section 21 (Darwin's maize). Demsar 2006, "Statistical Comparisons of Classifiers over
Multiple Data Sets", JMLR 7, Table 2 and section 3.2.2. Benjamini & Hochberg 1995, "Controlling the False Discovery Rate", JRSS B 57,
section 3.2. Freireich et al. 1963, "The Effect of 6-Mercaptopurine on the Duration of Steroid-Induced Remissions", Blood 21. Page 1963,
"Ordered Hypotheses for Multiple Treatments", JASA 58. Siegel & Castellan 1988, "Nonparametric Statistics", p. 186. Minitab 17 help,
"Equivalence Test with Paired Data" (contact lenses). Owen 2007, "The Pigeonhole Bootstrap", Annals of Applied Statistics 1.
"""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, stdtr
from scipy.stats import permutation_test, rankdata

from analysis import multiplicity, stats
from trainables.arrays import Floats

DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Fisher 1935: crossed minus self-fertilised heights of 15 pairs, in eighths of an inch."""

SEVENTEEN = [*DARWIN, 30, -25]
"""One more than are enumerated."""

DEMSAR = np.array([0.005, -0.008, 0.017, 0.033, 0.006, -0.005, 0.007, 0, 0.063, 0, 0.022, 0.047, 0.009, 0.021])
"""Demsar 2006, Table 2: AUC of C4.5+m minus C4.5 on 14 data sets, rounded as printed."""

BH_1995 = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]

quick = settings(deadline=None, max_examples=60)
whole = st.lists(st.integers(-9, 9), min_size=1, max_size=8)
whole2 = st.lists(st.integers(-9, 9), min_size=2, max_size=9)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def floats(values: object) -> Floats:
    return np.asarray(values, dtype=float)


def flips(differences: object, seed: int = 0) -> stats.SignFlips:
    return stats.sign_flips(floats(differences), rng(seed))


def counted(whole_numbers: list[int]) -> float:
    """The one-sided sign-flip p-value: the share of subsets, the empty one included, whose sum is not above 0."""
    sums = Counter({0: 1})
    for d in whole_numbers:
        sums.update({total + d: ways for total, ways in sums.items()})
    return sum(ways for total, ways in sums.items() if total <= 0) / 2 ** len(whole_numbers)


def test_darwins_maize() -> None:
    """Fisher: 863 of 32,768 assignments reach the observed sum of 314; t = 2.148. R's t.test gives the interval 0.0312 to 41.8355."""
    result = stats.paired_test(floats(DARWIN), 0.05, rng())
    assert (result.n, result.flips.p_greater(), result.p_value) == (15, 863 / 32768, 1726 / 32768)
    assert (result.estimate, result.sd) == (pytest.approx(314 / 15), pytest.approx(37.744, abs=5e-4))
    assert result.dz * math.sqrt(15) == pytest.approx(2.148, abs=5e-4)
    assert result.p_t == pytest.approx(0.0497, abs=5e-5)
    assert (result.t_low, result.t_high) == (pytest.approx(0.0312, abs=5e-5), pytest.approx(41.8355, abs=5e-5))


def test_the_limits_of_darwins_maize_are_where_the_count_crosses() -> None:
    """At -1/6 and at 41 the one-sided p-value is above .025; a thousandth beyond it is not (differences scaled to whole numbers)."""
    result = stats.paired_test(floats(DARWIN), 0.05, rng())
    assert (result.ci_low, result.ci_high) == (pytest.approx(-1 / 6, rel=1e-12), 41)
    assert counted([6000 * d + 1000 for d in DARWIN]) > 0.025 >= counted([6000 * d + 1006 for d in DARWIN])
    assert counted([41_000 - 1000 * d for d in DARWIN]) > 0.025 >= counted([41_001 - 1000 * d for d in DARWIN])


@quick
@given(whole2, st.integers(-3, 3), st.sampled_from(["greater", "less", "two_sided"]))
def test_p_values_are_those_of_scipys_permutation_test(differences: list[int], value: int, side: str) -> None:
    data, alternative = floats(differences) - value, side.replace("_", "-")
    theirs = permutation_test((data,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative=alternative)
    assert getattr(flips(differences), f"p_{side}")(value) == theirs.pvalue


@quick
@given(whole, st.integers(-120, 120), st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.5]))
def test_a_value_is_outside_the_limits_exactly_if_the_test_rejects_it(differences: list[int], twelfths: int, alpha: float) -> None:
    result, value = flips(differences), round(twelfths / 12, 12)  # as the subset means are rounded, so that ties are ties
    assert (value < result.lower_limit(alpha)) == (result.p_greater(value) <= alpha)
    assert (value > result.upper_limit(alpha)) == (result.p_less(value) <= alpha)
    outside = not result.lower_limit(alpha / 2) <= value <= result.upper_limit(alpha / 2)
    assert outside == (result.p_two_sided(value) <= alpha)


@pytest.mark.parametrize(("seeds", "low"), [(1, -math.inf), (5, -math.inf), (6, 1.0), (7, 2.0)])
def test_limits_of_few_seeds_by_hand(seeds: int, low: float) -> None:
    """Of 1, 2, 3, ... at alpha .025: 2^5 outcomes allow no limit, 2^6 the lowest subset mean, 2^7 the third (1, 1.5 of {1, 2}, 2)."""
    result = flips(range(1, seeds + 1))
    assert (result.lower_limit(0.025), result.upper_limit(0.025)) == (low, seeds + 1 - low)


@quick
@given(whole, st.integers(-50, 50), st.sampled_from([0.125, 0.1, 1, 3, 700]), st.sampled_from([0.025, 0.1, 0.3]))
def test_limits_move_with_shift_scale_and_sign(differences: list[int], shift: int, scale: float, alpha: float) -> None:
    result, moved, mirrored = flips(differences), flips(scale * floats(differences) + shift), flips(-floats(differences))
    assert moved.lower_limit(alpha) == pytest.approx(scale * result.lower_limit(alpha) + shift, rel=1e-9, abs=1e-9)
    assert moved.upper_limit(alpha) == pytest.approx(scale * result.upper_limit(alpha) + shift, rel=1e-9, abs=1e-9)
    assert mirrored.upper_limit(alpha) == -result.lower_limit(alpha)
    assert (mirrored.p_less(), mirrored.p_two_sided()) == (result.p_greater(), result.p_two_sided())


@quick
@given(st.lists(st.tuples(*[st.sampled_from([19_892, 20_000, 20_017, 20_125])] * 2), min_size=1, max_size=8))
def test_ties_survive_the_rounding_of_accuracies(correct: list[tuple[int, int]]) -> None:
    """Accuracies of 25,000 reviews tie with 0 and with a margin of 125 reviews as the whole numbers do, whichever way they round."""
    rounded = flips([a / 25_000 - b / 25_000 for a, b in correct])
    assert (rounded.p_greater(), rounded.p_less()) == (counted([a - b for a, b in correct]), counted([b - a for a, b in correct]))
    assert rounded.p_greater(-0.005) == counted([a - b + 125 for a, b in correct])
    assert rounded.p_less(-0.005) == counted([b - a - 125 for a, b in correct])


def test_above_sixteen_seeds_a_draw_stands_for_all_assignments() -> None:
    """Within three Monte Carlo standard errors of the exact p-value, and never 0."""
    first, again, other = (flips(SEVENTEEN, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.subset_means, again.subset_means)
    assert not np.array_equal(first.subset_means, other.subset_means)
    exact = counted(SEVENTEEN)
    for drawn in (first, other):
        assert drawn.p_greater() == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / 19_999))
    assert flips(np.ones(20)).p_greater() == pytest.approx(1 / 20_000, rel=1e-4)
    first, again, other = (multiplicity.step_down_max_t(floats([SEVENTEEN]).T, rng(seed))[0] for seed in (0, 0, 1))
    assert first == again != other
    assert first == pytest.approx(2 * exact, abs=3 * math.sqrt(2 * exact * (1 - 2 * exact) / 19_999))
    assert multiplicity.step_down_max_t(np.arange(1.0, 31)[:, None], rng()) == [1 / 20_000]


@pytest.mark.parametrize("differences", [[], [0.1, math.nan], [math.inf, 0.1], [[0.1, 0.2]]])
def test_what_cannot_be_tested_is_refused(differences: list[float]) -> None:
    with pytest.raises(ValueError, match="finite differences, one a seed"):
        stats.paired_test(floats(differences), 0.05, rng())


def test_differences_without_spread() -> None:
    constant, one, zero = (stats.paired_test(floats(d), 0.05, rng()) for d in ([0.25] * 6, [0.25], [0.0] * 6))
    assert (constant.p_value, constant.flips.p_greater()) == (2 / 64, 1 / 64)
    assert (constant.ci_low, constant.ci_high, constant.t_low, constant.t_high, constant.sd) == (0.25, 0.25, 0.25, 0.25, 0)
    assert (one.p_value, one.flips.p_greater(), one.ci_low, one.ci_high) == (1, 0.5, -math.inf, math.inf)
    assert (zero.p_value, zero.flips.p_greater(), zero.ci_low, zero.ci_high) == (1, 1, 0, 0)
    assert np.isnan([constant.dz, constant.p_t, one.sd, one.dz, one.p_t, zero.dz, zero.p_t]).all()
    nothing = np.zeros((6, 2))
    assert (stats.wilcoxon_p(nothing[:, 0]), stats.sign_test_p(nothing[:, 0]), multiplicity.step_down_max_t(nothing, rng())) == (
        1,
        1,
        [1, 1],
    )
    assert [stats.tost_p(floats([0.25] * 6), delta) for delta in (0.3, 0.25)] == [0, 1]
    assert math.isnan(stats.tost_p(floats([0.25]), 0.3))


def test_wilcoxon_ranks_zeros_and_then_drops_them() -> None:
    """Demsar splits the two zeros' ranks (1.5 each) over both sums: 93 and 12. Pratt drops them: 91.5 and 10.5.

    By hand: mean (14 * 15 - 2 * 3) / 4, variance (14 * 15 * 29 - 2 * 3 * 5) / 24 - (2^3 - 2) / 48 for a tied pair. Signs: 10 up, 2 down.
    """
    ranks = rankdata(np.abs(DEMSAR))
    up, down, zero = ranks[DEMSAR > 0].sum(), ranks[DEMSAR < 0].sum(), ranks[DEMSAR == 0].sum()
    assert (up + zero / 2, down + zero / 2, up, down) == (93, 12, 91.5, 10.5)
    assert stats.wilcoxon_p(DEMSAR) == pytest.approx(2 * ndtr((10.5 - 51) / math.sqrt(252.375)), rel=1e-9)
    assert stats.wilcoxon_p(DEMSAR) == pytest.approx(0.01079, abs=5e-6)
    assert stats.sign_test_p(DEMSAR) == pytest.approx(2 * (1 + 12 + 66) / 2**12, rel=1e-9)


def test_corrections_published_and_by_hand() -> None:
    """Demsar, 3.2.2: .016 < .017 and .019 < .025 are rejected, .607 > .050 is not; adjusted, 3 x .016, no less than that, .607.

    Benjamini & Hochberg: Bonferroni rejects three of 15 at .05, they four; the fourth, .0095 x 15 / 4 against Holm's .0095 x 12.
    """
    assert multiplicity.holm([0.607, 0.016, 0.019]) == pytest.approx([0.607, 0.048, 0.048])
    stepped_down, discoveries = multiplicity.holm(BH_1995), multiplicity.benjamini_hochberg(BH_1995)
    assert sum(p * 15 <= 0.05 for p in BH_1995) == sum(p <= 0.05 for p in stepped_down) == 3
    assert sum(p <= 0.05 for p in discoveries) == 4
    assert (stepped_down[3], discoveries[3]) == (pytest.approx(0.114), pytest.approx(0.035625))
    assert [r for r, _ in multiplicity.holm_over_sequences([[p] for p in BH_1995], 0.05)] == [p <= 0.05 for p in stepped_down]
    assert multiplicity.holm([]) == multiplicity.benjamini_hochberg([]) == []


def test_remission_of_leukaemia() -> None:
    """Freireich et al. 1963, as in every textbook: 6-MP with censoring (+), median 23 weeks; placebo without, median 8."""
    weeks = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+".split()
    curve = stats.kaplan_meier(floats([w.rstrip("+") for w in weeks]), [w.endswith("+") for w in weeks])
    known = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448, 35: 0.448}
    assert {t: round(s, 3) for t, s in zip(curve.times, curve.survival, strict=True) if t in known} == known
    assert curve.median == 23
    placebo = floats([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23])
    assert stats.kaplan_meier(placebo, [False] * 21).median == 8
    assert stats.kaplan_meier(floats([1, 2, 3, 4]), [False] * 4).median == 2
    assert math.isnan(stats.kaplan_meier(floats([1, 2, 3]), [False, True, True]).median)


@pytest.mark.parametrize(("last_block", "statistic", "outcomes"), [([1, 2, 3], 42, 1), ([1, 3, 2], 41, 7), ([3, 1, 2], 39, 33)])
def test_pages_l_by_hand(last_block: list[float], statistic: float, outcomes: int) -> None:
    """A block gives 14, 13, 13, 11, 11 or 10: 42, 41, 40, 39 of three in 1, 6, 12, 14 of 216 ways. Page's table: 41 at .05, 42 at .01."""
    assert stats.page_trend(floats([[10, 20, 30], [0.1, 0.2, 0.3], last_block])) == (statistic, pytest.approx(outcomes / 216))


def test_pages_l_of_craigs_data() -> None:
    """Siegel & Castellan 1988; the exact p-value as R's pageTest prints it."""
    rows = """.797 .873 .888 .923 .942 .956  .794 .772 .908 .982 .946 .913
              .838 .801 .853 .951 .883 .837  .815 .801 .747 .859 .887 .902"""
    assert stats.page_trend(floats(rows.split()).reshape(4, 6)) == (342, pytest.approx(0.0005661, abs=5e-8))


def test_equivalence_of_contact_lens_solutions() -> None:
    """Minitab: n 14, mean -0.11929, SD 0.42324, limits +-0.5; t 3.3657 and -5.4748, p .003, 90% t limits -0.31960 and 0.081034."""
    shape = np.arange(14) - 6.5
    differences = -0.11929 + 0.42324 * shape / shape.std(ddof=1)
    assert stats.tost_p(differences, 0.5) == pytest.approx(float(stdtr(13, -3.3657)), rel=2e-4) == pytest.approx(0.003, abs=5e-4)
    assert stats.tost_p(-differences, 0.5) == pytest.approx(stats.tost_p(differences, 0.5), rel=1e-9)
    result = stats.paired_test(differences, 0.1, rng())
    assert (result.t_low, result.t_high) == (pytest.approx(-0.31960, abs=2e-5), pytest.approx(0.081034, abs=2e-5))


@quick
@given(whole2)
def test_one_contrast_and_copies_of_it_cost_nothing(differences: list[int]) -> None:
    d, p = floats(differences), flips(differences).p_two_sided()
    assert multiplicity.step_down_max_t(d[:, None], rng()) == [p]
    assert multiplicity.step_down_max_t(np.column_stack([d, 2 * d, -d, d / 8]), rng()) == [p] * 4


@quick
@given(st.lists(st.tuples(*[st.integers(-9, 9)] * 3), min_size=2, max_size=7), st.permutations(range(3)))
def test_adjusting_never_lowers_and_forgets_the_order_of_columns(rows: list[tuple[int, ...]], order: list[int]) -> None:
    adjusted = multiplicity.step_down_max_t(floats(rows), rng())
    assert all(p >= flips(column).p_two_sided() for p, column in zip(adjusted, zip(*rows, strict=True), strict=True))
    assert multiplicity.step_down_max_t(floats(rows)[:, order], rng()) == [adjusted[k] for k in order]


def test_step_down_max_t_by_hand() -> None:
    """Squares sum to 14 in both columns, so |t| goes with |sum|. Up to a common sign the four flips give (6, 4), (4, 0), (2, 2), (0, 6).

    First column: the larger of the two reaches 6 twice in 4. Second, alone in the second step: 4 twice in 4; in one step it would be three.
    Of (10, 10, -1), t = 1.73, and (1, 2, 9), t = 1.59, the first is surpassed once; the second never, but may not overtake it.
    """
    assert multiplicity.step_down_max_t(floats([[1, 2], [2, 3], [3, -1]]), rng()) == [0.5, 0.5]
    assert [flips(d).p_two_sided() for d in ([1, 2, 3], [2, 3, -1])] == [0.25, 0.5]
    assert multiplicity.step_down_max_t(floats([[1, 10], [2, 10], [9, -1]]), rng()) == [0.5, 0.5]
    assert [flips(d).p_two_sided() for d in ([1, 2, 9], [10, 10, -1])] == [0.25, 0.5]


@pytest.mark.parametrize(("p_values", "rejected"), [([], 0), ([0.06, 0.001], 0), ([0.05], 1), ([0.01, 0.04, 0.2, 0.001], 2)])
def test_a_fixed_sequence_stops_at_the_first_failure(p_values: list[float], rejected: int) -> None:
    assert multiplicity.fixed_sequence(p_values, 0.05) == rejected
    assert multiplicity.holm_over_sequences([p_values], 0.05) == [(rejected, 0.05)]


def test_sequences_side_by_side_by_hand() -> None:
    """First, neither ends, so neither passes its share on; then the second does; then all, one after the other; then both at once."""
    assert multiplicity.holm_over_sequences([[0.001, 0.02, 0.03], [0.03, 0.2]], 0.05) == [(2, 0.025), (0, 0.025)]
    assert multiplicity.holm_over_sequences([[0.03, 0.2], [0.001, 0.02, 0.024]], 0.05) == [(1, 0.05), (3, 0.025)]
    assert multiplicity.holm_over_sequences([[0.01], [0.04], [0.02, 0.02]], 0.05) == [(1, 0.05 / 3), (1, 0.05), (2, 0.025)]
    assert multiplicity.holm_over_sequences([[0.01], [0.02]], 0.05) == [(1, 0.025), (1, 0.025)]


@quick
@given(st.lists(st.integers(0, 97).map(lambda k: k / 970), min_size=1, max_size=6))
def test_sequences_of_one_are_holms_procedure(p_values: list[float]) -> None:
    """Holm 1979: in ascending order, p against alpha / m, alpha / (m - 1), ... until the first that is above."""
    passed = [p <= 0.05 / (len(p_values) - i) for i, p in enumerate(sorted(p_values))]
    rejected = sum(r for r, _ in multiplicity.holm_over_sequences([[p] for p in p_values], 0.05))
    assert rejected == [*passed, False].index(False)


def test_the_pigeonhole_bootstrap_counts_seeds_reviews_and_what_is_between_them() -> None:
    """Exactly sum(a^2) / S^2 + sum(b^2) / R^2 + sum(e^2) / (S R)^2 is the variance of the resampled mean (after Owen 2007).

    a are effects of seeds, b of reviews, e the doubly centred rest; here each of the three terms is 1.
    """
    seeds, reviews = 40, 60
    a, b, e = rng(1).normal(size=(seeds, 1)), rng(2).normal(size=(1, reviews)), rng(3).normal(size=(seeds, reviews))
    parts = ((a - a.mean(), seeds), (b - b.mean(), reviews), (e - e.mean(0) - e.mean(1, keepdims=True) + e.mean(), seeds * reviews))
    values = 7 + sum(part * size / math.sqrt((part**2).sum()) for part, size in parts)
    low, high = stats.pigeonhole_bootstrap(values, 0.05, rng())
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(3), rel=0.07)
    assert (low + high) / 2 == pytest.approx(7, abs=0.3)
    assert stats.pigeonhole_bootstrap(values, 0.05, rng()) == (low, high) != stats.pigeonhole_bootstrap(values, 0.05, rng(1))
    assert stats.pigeonhole_bootstrap(np.full((4, 8), 0.75), 0.05, rng(), resamples=50) == (0.75, 0.75)
