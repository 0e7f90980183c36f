"""Tests and intervals for paired differences by seed, knowing nothing of studies.

The problem: ten seeds, give or take, and differences that need not be normal. Two wrong extremes are near. The t test alone leans
on normality that ten values cannot show; percentile or BCa bootstrap intervals do not, but cover about 89% instead of 95% at
n = 10. The choice here is the **sign-flip permutation test** of the mean difference (Fisher 1935, "The Design of Experiments",
section 21): under the null the sign of each seed's difference is a fair coin, so all 2^n assignments are equally likely and the
p-value is exact for differences symmetric about the tested value. The t test is computed beside it, never instead of it.

One fact carries p-values and intervals alike (Hartigan 1969, "Using subsample values as typical values"): flipping the signs of a
subset F of the d_i - theta gives a sum at least as large as the observed one exactly if the mean of d over F is at most theta. So

    p_greater(theta) = (1 + #{non-empty F : mean_F(d) <= theta}) / 2^n

and the limits of the interval, the inversion of that same test, are order statistics of the 2^n - 1 subset means. Test and
interval can therefore never contradict each other. Up to 16 seeds all subsets are used; above, a seeded random draw of them, with
the observed assignment counted in (Phipson & Smyth 2010), which keeps the test valid.

Everything random takes a `numpy.random.Generator`. `scipy.stats` takes a second to import and is imported where it is used.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.special import stdtr, stdtrit

from trainables.arrays import Floats

MOST_EXACT_SEEDS = 16
"""Up to this many seeds all 2^n assignments are enumerated."""

MONTE_CARLO_FLIPS = 19_999
"""Random subsets above that."""

DECIMALS = 12
"""Differences and their means are compared to so many decimals. Accuracies are multiples of 1/25,000, so ties and differences that lie
exactly on a margin are common; float noise must neither break a tie nor let a test and its interval disagree."""


@dataclass(frozen=True)
class SignFlips:
    """The sign-flip distribution of one set of paired differences, as its subset means."""

    subset_means: Floats
    """To 12 decimals, in no order; of all non-empty subsets of the differences, or of a random draw of subsets."""
    unflipped: int = 1
    """Assignments that flip nothing: the observed one, and those that were drawn again."""

    @property
    def assignments(self) -> int:
        """Equally likely outcomes, the observed one included: 2^n when exact."""
        return len(self.subset_means) + self.unflipped

    def p_greater(self, value: float = 0.0) -> float:
        """One-sided p-value of the null that the mean is at most `value`."""
        below = np.count_nonzero(self.subset_means <= round(value, DECIMALS))
        return float((self.unflipped + below) / self.assignments)

    def p_less(self, value: float = 0.0) -> float:
        """One-sided p-value of the null that the mean is at least `value`."""
        above = np.count_nonzero(self.subset_means >= round(value, DECIMALS))
        return float((self.unflipped + above) / self.assignments)

    def p_two_sided(self, value: float = 0.0) -> float:
        """Two-sided p-value of the null that the mean is `value`: the flip distribution is symmetric, so twice the smaller side."""
        return min(1.0, 2 * min(self.p_greater(value), self.p_less(value)))

    def lower_limit(self, alpha: float) -> float:
        """One-sided 1 - alpha lower limit: the smallest value that is not rejected; -inf if no value can be."""
        rank = self._rank(alpha)
        return float(self._ascending[rank - 1]) if rank else -math.inf

    def upper_limit(self, alpha: float) -> float:
        """One-sided 1 - alpha upper limit; inf if no value can be rejected."""
        rank = self._rank(alpha)
        return float(self._ascending[-rank]) if rank else math.inf

    @cached_property
    def _ascending(self) -> Floats:
        return np.sort(self.subset_means)

    def _rank(self, alpha: float) -> int:
        """Which subset mean, counted from the outside, is the limit; 0 if there is none."""
        return min(len(self.subset_means), max(0, math.floor(alpha * self.assignments + 1e-9) - self.unflipped + 1))


def sign_flips(differences_S: Floats, rng: np.random.Generator) -> SignFlips:
    """The sign-flip distribution of (S,) paired differences, one a seed; `rng` is used above 16 seeds only.

    Raises:
        ValueError: no difference, or one that is not finite.
    """
    differences = rounded(differences_S)
    if differences.ndim != 1 or not len(differences) or not np.isfinite(differences).all():
        raise ValueError(f"a sign-flip test needs finite differences, one a seed, not {differences_S!r}")
    num_seeds = len(differences)
    if num_seeds <= MOST_EXACT_SEEDS:
        subsets_FS = all_subsets(num_seeds)
        return SignFlips(rounded(subsets_FS @ differences / subsets_FS.sum(axis=1)))
    subsets_FS = rng.integers(0, 2, size=(MONTE_CARLO_FLIPS, num_seeds)).astype(np.float64)
    sizes_F = subsets_FS.sum(axis=1)
    flips_something = sizes_F > 0
    means = (subsets_FS @ differences)[flips_something] / sizes_F[flips_something]
    return SignFlips(rounded(means), 1 + int((~flips_something).sum()))


def rounded(values: Floats) -> Floats:
    """Values to the decimals in which they are compared."""
    return np.asarray(values, dtype=np.float64).round(DECIMALS)


@lru_cache(maxsize=4)
def all_subsets(num_seeds: int) -> Floats:
    """All non-empty subsets as rows of zeros and ones, (2^S - 1, S)."""
    return (np.arange(1, 2**num_seeds)[:, None] >> np.arange(num_seeds) & 1).astype(np.float64)


@dataclass(frozen=True)
class PairedTest:
    """A paired comparison of one number a seed: effect, interval, tests. Limits are infinite where n is too small for them."""

    n: int
    """Seeds."""
    estimate: float
    """Mean difference."""
    sd: float
    """Of the differences, n - 1 in the denominator; NaN for one seed."""
    ci_low: float
    """Limits of the two-sided 1 - alpha interval: the sign-flip test inverted."""
    ci_high: float
    t_low: float
    """Limits of the paired t interval at the same level."""
    t_high: float
    dz: float
    """estimate / sd (Cohen 1988); NaN where sd is 0 or unknown."""
    p_value: float
    """Two-sided, sign-flip."""
    p_t: float
    """Two-sided, paired t; NaN where sd is 0 or unknown."""
    flips: SignFlips
    """What p and limits were read from; for limits at other levels."""


def paired_test(differences_S: Floats, alpha: float, rng: np.random.Generator) -> PairedTest:
    """Test and estimate the mean of (S,) paired differences; `alpha` is that of the two-sided interval."""
    differences = rounded(differences_S)
    flips = sign_flips(differences, rng)
    estimate = float(differences.mean())
    sd = math.nan if len(differences) < 2 else float(differences.std(ddof=1)) if np.ptp(differences) else 0.0
    t_low, t_high, p_t = _t_interval(estimate, sd, len(differences), alpha)
    return PairedTest(
        n=len(differences),
        estimate=estimate,
        sd=sd,
        ci_low=flips.lower_limit(alpha / 2),
        ci_high=flips.upper_limit(alpha / 2),
        t_low=t_low,
        t_high=t_high,
        dz=estimate / sd if sd > 0 else math.nan,
        p_value=flips.p_two_sided(),
        p_t=p_t,
        flips=flips,
    )


def _t_interval(estimate: float, sd: float, n: int, alpha: float) -> tuple[float, float, float]:
    """Limits and two-sided p-value of the paired t test."""
    if n < 2:
        return -math.inf, math.inf, math.nan
    if sd == 0:
        return estimate, estimate, math.nan
    error = sd / math.sqrt(n)
    half = float(stdtrit(n - 1, 1 - alpha / 2)) * error
    return estimate - half, estimate + half, float(2 * stdtr(n - 1, -abs(estimate) / error))


def wilcoxon_p(differences_S: Floats) -> float:
    """Two-sided Wilcoxon signed-rank p-value; zeros are ranked and then dropped (Pratt 1959). 1 where all differences are 0."""
    from scipy.stats import wilcoxon

    differences = rounded(differences_S)
    return float(wilcoxon(differences, zero_method="pratt").pvalue) if np.any(differences) else 1.0


def sign_test_p(differences_S: Floats) -> float:
    """Two-sided sign test p-value; zeros are dropped. 1 where all differences are 0."""
    from scipy.stats import binomtest

    nonzero = rounded(differences_S)[rounded(differences_S) != 0]
    return float(binomtest(int((nonzero > 0).sum()), len(nonzero)).pvalue) if len(nonzero) else 1.0


def tost_p(differences_S: Floats, delta: float) -> float:
    """p-value of two one-sided paired t tests for equivalence within +-delta (Schuirmann 1987); NaN below two seeds."""
    differences = rounded(differences_S)
    n, estimate = len(differences), float(differences.mean())
    if n < 2:
        return math.nan
    if np.ptp(differences) == 0:
        return 0.0 if abs(estimate) < delta else 1.0
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    return float(stdtr(n - 1, (abs(estimate) - delta) / error))


def page_trend(values_SK: Floats) -> tuple[float, float]:
    """Page's (1963) L and its p-value against the null of no increasing trend over (S, K) blocks x ordered levels, K >= 3."""
    from scipy.stats import page_trend_test

    result = page_trend_test(values_SK, ranked=False)
    return float(result.statistic), float(result.pvalue)


@dataclass(frozen=True)
class SurvivalCurve:
    """A Kaplan-Meier (1958) curve: the share that has not got there yet, after each time."""

    times: Floats
    """Ascending; at which something happened or was censored."""
    survival: Floats
    """Just after each time."""

    @property
    def median(self) -> float:
        """The first time at which half or fewer are left; NaN if that was never seen."""
        reached = self.times[self.survival <= 0.5 + 1e-12]
        return float(reached[0]) if len(reached) else math.nan


def kaplan_meier(times: Floats, censored: Sequence[bool]) -> SurvivalCurve:
    """The Kaplan-Meier curve of right-censored times."""
    from scipy.stats import CensoredData, ecdf

    curve = ecdf(CensoredData.right_censored(times, censored)).sf
    return SurvivalCurve(np.asarray(curve.quantiles), np.asarray(curve.probabilities))


def pigeonhole_bootstrap(values_SR: Floats, alpha: float, rng: np.random.Generator, resamples: int = 2_000) -> tuple[float, float]:
    """Percentile interval of the grand mean of (seeds, reviews) values, both resampled (Owen 2007, "The pigeonhole bootstrap").

    Unlike every interval over seeds alone it holds the test reviews to be a sample too; it errs on the wide side.
    """
    num_seeds, num_reviews = values_SR.shape
    seeds_BS = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=resamples) / num_seeds
    means = np.empty(resamples)
    for b in range(resamples):
        counts_R = np.bincount(rng.integers(0, num_reviews, num_reviews), minlength=num_reviews)
        means[b] = seeds_BS[b] @ (values_SR @ counts_R) / num_reviews
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)
