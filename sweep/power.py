"""What a number of seeds can show at all, known before anything is computed and repeated in the report.

Two limits are told apart. The *floor*: an exact sign-flip test of n differences has 2^n equally likely outcomes, so its p-value
cannot fall below 1/2^n (one-sided) or 2/2^n (two-sided), however large the effect is. The *power*: an effect that is small beside
the spread of the differences is missed however well the test is calibrated. Power is that of the paired t test (noncentral t),
which the sign-flip test follows when differences are about normal and n is well above the floor: at the MDE of two-sided .05, the
sign-flip test's own power is .62 for n = 6 (all six signs have to agree), .77 for 8, .78 for 10 and .81 for 15 (4,000 simulations each).
"""

import math

from scipy.special import nctdtr, nctdtrinc, stdtrit

POWER = 0.8
"""The power that an MDE promises."""

MOST_SEEDS = 1_000_000
"""Beyond this many, the answer to "how many seeds" is "none will do"."""


def smallest_p(num_seeds: int, *, two_sided: bool) -> float:
    """The floor of an exact sign-flip p-value: 2/2^n or 1/2^n."""
    return min(1.0, (2.0 if two_sided else 1.0) * 2.0**-num_seeds)


def mde_within_reach(num_seeds: int, alpha: float, *, two_sided: bool = True) -> float:
    """`mde`, or inf where the floor forbids any rejection at that level: then no effect is found, however large."""
    if smallest_p(num_seeds, two_sided=two_sided) > alpha:
        return math.inf
    return mde(num_seeds, alpha, two_sided=two_sided)


def mde(num_seeds: int, alpha: float, *, two_sided: bool = True) -> float:
    """Smallest mean difference, in SDs of the paired differences, that a paired t test finds with 80% power; inf below two seeds.

    The noncentrality is solved exactly; the far tail of the two-sided test, below 1e-6 at this power, is left out.
    """
    if num_seeds < 2:
        return math.inf
    critical = stdtrit(num_seeds - 1, 1 - (alpha / 2 if two_sided else alpha))
    return float(nctdtrinc(num_seeds - 1, 1 - POWER, critical)) / math.sqrt(num_seeds)


def seeds_for(effect: float, alpha: float, *, two_sided: bool = True) -> int | None:
    """Fewest seeds with which an effect, in SDs of the paired differences, is found with 80% power; None if no number would do."""
    if not effect > 0 or mde(MOST_SEEDS, alpha, two_sided=two_sided) > effect:
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        enough = mde(middle, alpha, two_sided=two_sided) <= effect and smallest_p(middle, two_sided=two_sided) <= alpha
        low, high = (low, middle) if enough else (middle, high)
    return high


def noninferiority_power(num_seeds: int, margin: float, sd: float, alpha: float) -> float:
    """Power to show non-inferiority where the true difference is 0, for a margin and an SD of the differences in one unit."""
    if smallest_p(num_seeds, two_sided=False) > alpha:
        return 0.0
    critical = stdtrit(num_seeds - 1, 1 - alpha)
    return float(1 - nctdtr(num_seeds - 1, margin / sd * math.sqrt(num_seeds), critical))
