"""The primary tests by simulation: error rates at or below nominal, the power that was promised, and no claim past a failure.

Everything is seeded, and every docstring gives R, the replications, and the rate that was measured with them. A rate counts as at or
below nominal if it is no more than three Monte Carlo standard errors above: nominal + 3 sqrt(nominal (1 - nominal) / R), and as at
least what was promised if it is no more than three below. Where many replications matter, simulated differences go straight to
`analysis.stats`; a smaller number then goes as whole planted tables through `answer_q1` and `answer_q2`, as results do.

A seed's deviations are normal, or t with three degrees of freedom: symmetric, which the sign-flip test needs, and heavy-tailed.
"""

import gc
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ttest_1samp

from analysis.contrasts import effect, judged
from analysis.elsewhere import read_table
from analysis.frames import ARM, Results
from analysis.multiplicity import fixed_sequence, holm
from analysis.q1 import answer_q1
from analysis.q2 import answer_q2
from analysis.stats import sign_flips
from sweep.analysis_plan import Q1Plan, Q2Plan
from sweep.power import noninferiority_power
from tests.planted import BUDGETS, Mean, learning, planted, raised
from trainables.arrays import Floats
from trainables.spec import FULL_DATA

Q1, Q2 = Q1Plan(), Q2Plan()
FULL = 0.86
"""True accuracy of the planted full-data model."""

GRID: dict[str, Any] = {"rates": (0.1, 0.25, 0.5), "passes": (5, 10, 20, 50)}
"""Twelve cells that model uncertainty, four at each rate against one baseline."""

slow = pytest.mark.slow
shapes = pytest.mark.parametrize("shape", ["normal", "t3"])


def at_most(nominal: float, replications: int) -> float:
    return nominal + 3 * math.sqrt(nominal * (1 - nominal) / replications)


def at_least(nominal: float, replications: int) -> float:
    return nominal - 3 * math.sqrt(nominal * (1 - nominal) / replications)


def deviations(shape: str, rng: np.random.Generator, *size: int) -> Floats:
    return rng.normal(size=size) if shape == "normal" else rng.standard_t(3, size=size)


@pytest.fixture(scope="module", autouse=True)
def _nothing_to_collect() -> Iterator[None]:
    """Statsmodels collects garbage at every Holm correction, 50 ms with all that is loaded here; frozen objects are left out of it."""
    holm([0.5])
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def without_two_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q2's verdict without the 2 x 2 table, which describes, tests nothing, and takes nine tenths of the time."""
    monkeypatch.setattr("analysis.q2.two_by_two", lambda *_: [])


Study = Callable[[Mean, int], Results]


@pytest.fixture(scope="module", params=[{}])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Plants a table of ten seeds with this truth and key; it is read once, and takes on other accuracies after that."""
    options = dict(request.param)
    names = [*ARM, "seed", "num_labelled"]
    path = tmp_path_factory.mktemp("planted") / "rounds.csv"
    planted(**options).drop(columns=["nll_deterministic", "nll_mc", "accuracy_mc"]).to_csv(path, index=False)
    read = read_table(path)

    def plant(mean: Mean, key: int) -> Results:
        rows = planted(mean, key=key, **options).sort_values(names, ignore_index=True)
        assert rows["num_labelled"].equals(read.rounds["num_labelled"].astype("int64"))
        return replace(read, rounds=read.rounds.assign(accuracy_deterministic=rows["accuracy_deterministic"]))

    return plant


def rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def claims(contrast: dict[str, Any]) -> bool:
    return contrast["verdict"] in ("BETTER", "WORSE")


def steps(*differences: float) -> Mean:
    """A truth by its differences from the full-data model, the smallest budget first; no arm is better than another."""
    by_budget = dict(zip(BUDGETS, differences, strict=True))
    return lambda acquisition, _, __, labels: FULL if acquisition == FULL_DATA else FULL + by_budget[labels]


# Q2: two contrasts, and cells that are no replicates


@slow
@shapes
@pytest.mark.parametrize("seeds", [6, 8, 10])
def test_q2_claims_no_difference_that_is_not_there(seeds: int, shape: str) -> None:
    """R = 10,000: either contrast claimed under the global null, Holm over both, which share the MC arm; bound .0565."""
    replications, source = 10_000, rng(1, seeds)
    mc, twin, random = deviations(shape, source, 3, replications, seeds)
    pairs = zip(mc - twin, mc - random, strict=True)
    rate = np.mean([min(holm([sign_flips(d, source).p_two_sided() for d in pair])) <= Q2.alpha for pair in pairs])
    print("RATE q2 fwer", seeds, shape, rate)
    assert rate <= at_most(Q2.alpha, replications)


@slow
@shapes
@pytest.mark.parametrize(("rates", "passes"), [(1, 12), (3, 4)])
def test_cells_are_averaged_within_seed_and_never_counted(rates: int, passes: int, shape: str) -> None:
    """R = 4,000 of 10 seeds x 12 cells."""
    replications, source = 4_000, rng(2, rates)
    mc = deviations(shape, source, replications, 10, rates, passes)
    twin, random = deviations(shape, source, 2, replications, 10, rates, 1)
    against_twin, against_random = ((mc - other).reshape(replications, 10, 12) for other in (twin, random))
    counted = np.mean(ttest_1samp(against_twin.reshape(replications, 120), 0, axis=1).pvalue <= 0.05)
    p_values = [
        [sign_flips(d, source).p_two_sided() for d in pair]
        for pair in zip(against_twin.mean(axis=2), against_random.mean(axis=2), strict=True)
    ]
    averaged, family = np.mean([p[0] <= 0.05 for p in p_values]), np.mean([min(holm(p)) <= 0.05 for p in p_values])
    print("RATE cells", rates, passes, shape, "counted", counted, "averaged", averaged, "family", family)
    assert max(averaged, family) <= at_most(0.05, replications)
    assert counted > 3 * at_most(0.05, replications)


@slow
@pytest.mark.usefixtures("without_two_by_two")
@pytest.mark.parametrize("study", [GRID | {"budgets": (400, 1600)}], indirect=True)
def test_twelve_planted_cells_that_are_all_alike(study: Study) -> None:
    """R = 400 tables of 18 arms."""
    replications = 400
    answers = [answer_q2(study(learning, key), Q2, rng(key)) for key in range(replications)]
    assert len(answers[0]["cells"]) == 12
    family = np.mean([any(claims(row) for row in answer["contrasts"]) for answer in answers])
    verdict = np.mean([claims(answer) for answer in answers])
    print("RATE 12 planted", family, verdict)
    assert family <= at_most(Q2.alpha, replications)


@slow
@shapes
@pytest.mark.parametrize("spread", [0.2, 0.7])
def test_a_difference_of_delta_is_not_called_equivalent(shape: str, spread: float) -> None:
    """R = 4,000, the true difference delta."""
    replications, source = 4_000, rng(3)
    draws = Q2.delta * (1 + spread * deviations(shape, source, replications, 10))
    rows = [effect("a", "b", pd.Series(d), range(10), Q2.alpha, source) for d in draws]
    rate = np.mean([judged([row], Q2.alpha, Q2.delta)[0]["verdict"] == "EQUIVALENT" for row in rows])
    inside = np.mean([row["ci90_low"] > -Q2.delta and row["ci90_high"] < Q2.delta for row in rows])
    print("RATE equivalent", shape, spread, rate, inside)
    assert max(rate, inside) <= at_most(0.05, replications)


# Q1: the fixed sequence and its gates


@slow
@shapes
@pytest.mark.parametrize("common", [0.0, 0.9])
@pytest.mark.parametrize(
    "truth",
    [(4, 4, -1, -6, -6), (0, 0, -1, -6, -6), (-1, -1, -1, -1, -1), (4, -6, -1, -1, -1)],
    ids=["step", "start unsure", "all at the margin", "back to the margin"],
)
def test_a_fixed_sequence_claims_no_budget_that_is_inferior(truth: tuple[int, ...], common: float, shape: str) -> None:
    """R = 4,000."""
    replications, seeds, source = 4_000, 10, rng(4)
    own, shared = deviations(shape, source, replications, 5, seeds), deviations(shape, source, replications, 1, seeds)
    ladders = np.array(truth)[:, None] + math.sqrt(1 - common) * own + math.sqrt(common) * shared
    p_values = np.array([[sign_flips(d, source).p_greater(-1.0) for d in ladder] for ladder in ladders])
    inferior = np.array(truth) <= -1
    claimed = np.mean([inferior[: fixed_sequence(p, Q1.alpha)].any() for p in p_values])
    each = np.mean([(p[inferior] <= Q1.alpha).any() for p in p_values])
    print("RATE sequence", truth, common, shape, claimed, "each", each)
    assert claimed <= at_most(Q1.alpha, replications)


@slow
def test_no_budget_at_the_margin_or_below_is_claimed(study: Study) -> None:
    """R = 400."""
    replications, truth = 400, steps(-0.03, -0.03, -Q1.margin, 0.0, 0.0)
    answers = [answer_q1(study(truth, key), Q1, rng(key)) for key in range(replications)]
    rate = np.mean([answer["b_star"] is not None and answer["b_star"] <= 400 for answer in answers])
    reached = np.mean([answer["b_star"] in (800, 400, 200, 100) for answer in answers])
    yes = np.mean([answer["verdict"] == "YES" for answer in answers])
    print("RATE q1 door", rate, reached, yes, Counter((answer["verdict"], answer["b_star"]) for answer in answers))
    assert rate <= at_most(Q1.alpha, replications)


@slow
def test_what_is_at_the_margin_is_not_called_inferior(study: Study) -> None:
    """R = 400."""
    replications, truth = 400, steps(-0.03, -0.03, -0.03, -0.03, -Q1.margin)
    answers = [answer_q1(study(truth, key), Q1, rng(key)) for key in range(replications)]
    rate = np.mean([answer["verdict"] == "NO" for answer in answers])
    print("RATE q1 no", rate, Counter((answer["verdict"], answer["b_star"]) for answer in answers))
    assert rate <= at_most(Q1.alpha, replications)


@slow
@shapes
@pytest.mark.parametrize("common", [0.0, 0.9])
def test_better_than_random_needs_holm_because_the_data_choose_the_budget(common: float, shape: str) -> None:
    """R = 4,000."""
    replications, seeds, source = 4_000, 10, rng(5)

    def arm() -> Floats:
        own, shared = deviations(shape, source, replications, 5, seeds), deviations(shape, source, replications, 1, seeds)
        return np.array([0.0, -0.5, -1.0, -1.5, -2.0])[:, None] + math.sqrt(1 - common) * own + math.sqrt(common) * shared

    chosen, random, full = arm(), arm(), deviations(shape, source, replications, 1, seeds)
    family, untested, corrected, found = 0, 0, 0, 0
    for over_full, over_random in zip(chosen - full, chosen - random, strict=True):
        p_values = [sign_flips(d, source).p_greater() for d in over_random]
        adjusted = holm(p_values)
        passed = fixed_sequence([sign_flips(d, source).p_greater(-2.0) for d in over_full], Q1.alpha)
        family += min(adjusted) <= Q1.alpha
        if passed:
            found += 1
            untested += p_values[passed - 1] <= Q1.alpha
            corrected += adjusted[passed - 1] <= Q1.alpha
    print(
        "RATE gate 2",
        common,
        shape,
        "family",
        family / replications,
        "found",
        found / replications,
        "naive",
        untested / found,
        untested / replications,
        "holm",
        corrected / found,
    )
    assert family / replications <= at_most(Q1.alpha, replications)


@slow
@shapes
def test_the_interval_covers(shape: str) -> None:
    """R = 10,000."""
    replications, source = 10_000, rng(6)
    draws = deviations(shape, source, replications, 10)
    flips = [sign_flips(d, source) for d in draws]
    rate = np.mean([flip.lower_limit(0.025) <= 0 <= flip.upper_limit(0.025) for flip in flips])
    picks = source.integers(0, 10, size=(2_000, 10))
    lows, highs = np.quantile(draws[:2_000, picks].mean(axis=2), [0.025, 0.975], axis=1)
    bootstrap = np.mean((lows <= 0) & (highs >= 0))
    print("RATE coverage", shape, rate, "bootstrap", bootstrap)
    assert rate >= at_least(0.95, replications)


# Power


def promised(sd: float) -> float:
    """The MDE that the report prints for a family of two contrasts of ten seeds whose differences have this SD."""
    ranks = np.arange(10.0) - 4.5
    row = effect("a", "b", pd.Series(sd * ranks / ranks.std(ddof=1)), range(10), Q2.alpha, rng(0))
    return float(judged([row, row], Q2.alpha, Q2.delta)[0]["mde80"])


@slow
def test_a_promised_effect_is_found() -> None:
    """R = 10,000."""
    replications, source = 10_000, rng(7)
    draws = promised(1.0) + source.normal(size=(replications, 10))
    rate = np.mean([sign_flips(d, source).p_two_sided() <= Q2.alpha / 2 for d in draws])
    t_rate = np.mean(ttest_1samp(draws, 0, axis=1).pvalue <= Q2.alpha / 2)
    print("RATE power", promised(1.0), rate, t_rate)


def sd_of_alc_differences(noise: float) -> float:
    """Two arms deviate by `noise` along the whole curve and by a tenth of it at each budget; five budgets, the outer ones half."""
    weights = np.array([0.5, 1, 1, 1, 0.5]) / 4
    return noise * math.sqrt(2 * (1 + (weights**2).sum() / 100))


@slow
@pytest.mark.usefixtures("without_two_by_two")
@pytest.mark.parametrize("names", [("entropy", "random"), ("entropy",)])
def test_a_promised_effect_makes_the_verdict(study: Study, names: tuple[str, ...]) -> None:
    """R = 500."""
    replications, truth = 500, raised(*names, by=promised(sd_of_alc_differences(0.004)))
    answers = [answer_q2(study(truth, key), Q2, rng(key)) for key in range(replications)]
    print(
        "RATE verdict",
        names,
        Counter(a["verdict"] for a in answers),
        np.mean([a["contrasts"][0]["sd"] for a in answers]),
        sd_of_alc_differences(0.004),
        np.mean([a["contrasts"][0]["mde80"] for a in answers]),
        promised(sd_of_alc_differences(0.004)),
    )


@slow
@pytest.mark.parametrize("study", [{"noise": 0.003}], indirect=True)
@pytest.mark.parametrize("smallest", [100, 400, 1600])
def test_a_planted_b_star_is_found(study: Study, smallest: int) -> None:
    """R = 300."""
    replications = 300
    truth = steps(*(0.0 if budget >= smallest else -0.03 for budget in BUDGETS))
    power = noninferiority_power(10, Q1.margin, 0.003 * math.sqrt(2 * 1.01), Q1.alpha)
    answers = [answer_q1(study(truth, key), Q1, rng(key)) for key in range(replications)]
    print("RATE bstar", smallest, power, Counter((a["b_star"], a["verdict"]) for a in answers))


# The fixed sequence's form, and what is refused


def counted(whole_numbers: list[int]) -> float:
    """The one-sided sign-flip p-value: the share of subsets, the empty one included, whose sum is not above 0."""
    sums = Counter({0: 1})
    for d in whole_numbers:
        sums.update({total + d: ways for total, ways in sums.items()})
    return sum(ways for total, ways in sums.items() if total <= 0) / 2 ** len(whole_numbers)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(5, 10))
def test_a_fixed_sequence_never_claims_past_a_failure(study: Study, data: st.DataObject, seeds: int) -> None:
    levels = data.draw(st.lists(st.sampled_from([-600, -200, -125, -100, 0, 100]), min_size=5, max_size=5))
    noise_SB = data.draw(arrays(np.int64, (seeds, 5), elements=st.integers(-90, 90)))
    reviews_SB = noise_SB + np.array(levels)
    full = study(learning, 0)
    kept = full.rounds[full.rounds["seed"] < seeds].reset_index(drop=True)
    column = {budget: position for position, budget in enumerate(BUDGETS)}
    accuracy = [
        FULL if a == FULL_DATA else (21_500 + reviews_SB[s, column[b]]) / 25_000 if a == "entropy" else old
        for a, s, b, old in zip(*(kept[name] for name in ("acquisition", "seed", "num_labelled", "accuracy_deterministic")), strict=True)
    ]
    answer = answer_q1(replace(full, rounds=kept.assign(accuracy_deterministic=accuracy)), Q1, rng(0))
    ladder = answer["ladder"]
    assert [row["budget"] for row in ladder] == sorted(BUDGETS, reverse=True)
    statuses = [row["status"] for row in ladder]
    passed = statuses.count("passed")
    assert statuses == (["passed"] * passed + ["failed"] + ["not tested"] * 5)[:5]
    exact = [counted([int(d) + 125 for d in reviews_SB[:, column[row["budget"]]]]) for row in ladder]
    assert [row["p_value"] for row in ladder] == [p if position <= passed else None for position, p in enumerate(exact)]
    assert all(p <= Q1.alpha for p in exact[:passed])
    assert passed == 5 or exact[passed] > Q1.alpha
    assert answer["b_star"] == (ladder[passed - 1]["budget"] if passed else None)


def again(table: pd.DataFrame, changes: dict[str, Any], **where: object) -> pd.DataFrame:
    """A table with some of its rows once more, changed."""
    chosen = np.logical_and.reduce([table[name] == value for name, value in where.items()])
    return pd.concat([table, table[chosen].assign(**changes)], ignore_index=True)
