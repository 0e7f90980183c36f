"""Many tests at once: corrections of families, and sequences in which no correction is needed.

statsmodels has Holm's correction too (the tests compare with it), but takes a second to import, collects garbage at every call, which made
half of a report's time, and brings six packages; what is needed of it is five lines here.
"""

from collections.abc import Sequence

import numpy as np

from analysis.stats import MONTE_CARLO_FLIPS, MOST_EXACT_SEEDS, all_subsets, rounded
from trainables.arrays import Floats


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p-values, in the order given: strong family-wise control under any dependence."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini & Hochberg's (1995) adjusted p-values: false discovery rate, for exploratory tables only."""
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(p_values)] if len(p_values) else []


def step_down_max_t(differences_SK: Floats, rng: np.random.Generator) -> list[float]:
    """Adjusted p-values of K contrasts by the step-down max-|t| method (Westfall & Young 1993, algorithm 4.1').

    The signs of whole seed rows are flipped together, which keeps the correlation of contrasts that share a baseline.

    Args:
        differences_SK: one row a seed, one column a contrast.
        rng: used above 16 seeds only.

    Raises:
        ValueError: a difference that is not finite.
    """
    differences = rounded(differences_SK)
    num_seeds, num_contrasts = differences.shape
    if not np.isfinite(differences).all():
        raise ValueError("joint sign flips need finite differences of every seed in every contrast")
    if num_seeds <= MOST_EXACT_SEEDS:
        signs_FS = np.vstack([np.ones(num_seeds), 1 - 2 * all_subsets(num_seeds)])
    else:
        draws_FS = 1.0 - 2.0 * rng.integers(0, 2, size=(MONTE_CARLO_FLIPS, num_seeds))
        signs_FS = np.vstack([np.ones(num_seeds), draws_FS])
    flipped_FK = rounded(_standardised(signs_FS, differences))
    order = np.argsort(-flipped_FK[0], kind="stable")
    maxima_FK = np.maximum.accumulate(flipped_FK[:, order][:, ::-1], axis=1)[:, ::-1]
    reached_K = (maxima_FK >= flipped_FK[0, order]).mean(axis=0)
    adjusted = np.empty(num_contrasts)
    adjusted[order] = np.maximum.accumulate(reached_K)
    return [float(p) for p in adjusted]


def _standardised(signs_FS: Floats, differences_SK: Floats) -> Floats:
    """|mean| over root mean square of every contrast under every assignment of signs: (F, K), between 0 and 1.

    With r this ratio, |t| = sqrt(n - 1) r / sqrt(1 - r^2) rises with r alone, so both order assignments and contrasts alike; signs leave
    the squares as they are, and r, unlike t, needs no difference of nearly equal numbers.
    """
    means_FK = np.abs(signs_FS @ differences_SK) / len(differences_SK)
    root_K = np.sqrt((differences_SK**2).mean(axis=0))
    return np.asarray(means_FK / np.where(root_K > 0, root_K, 1))


def fixed_sequence(p_values: Sequence[float], alpha: float) -> int:
    """How many hypotheses, tested in the order given until the first failure, are rejected; no correction is needed.

    Maurer, Hothorn & Lehmacher (1995): every test at full alpha, and nothing behind a failure is claimed.
    """
    return next((position for position, p in enumerate(p_values) if not p <= alpha), len(p_values))


def holm_over_sequences(sequences: Sequence[Sequence[float]], alpha: float) -> list[tuple[int, float]]:
    """Fixed sequences side by side, Holm over them: for each, the number of rejections and the level it was tested at.

    Every sequence starts with an equal share of alpha; one that is rejected to its end passes its share on (the graphical procedure
    of Bretz et al. 2009). Holm at each position separately would not control the family-wise error over positions.
    """
    open_, levels = set(range(len(sequences))), [0.0] * len(sequences)
    while open_:
        level = alpha / len(open_)
        for i in open_:
            levels[i] = level
        done = {i for i in open_ if fixed_sequence(sequences[i], level) == len(sequences[i])}
        if not done:
            break
        open_ -= done
    return [(fixed_sequence(p_values, level), level) for p_values, level in zip(sequences, levels, strict=True)]
