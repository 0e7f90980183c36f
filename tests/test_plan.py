"""From the grid to unique trajectories: what is merged, what is refused, in which order, and that nothing is asked for in vain."""

from typing import Any

import pytest

from sweep.plan import Plan, make_plan
from sweep.study import Study
from tests.conftest import TINY_STUDY
from trainables.corpus import Corpus
from trainables.errors import RequestError


def study(**sections: Any) -> Study:
    return Study.model_validate({**TINY_STUDY, **{k: {**TINY_STUDY.get(k, {}), **v} for k, v in sections.items()}})


def planned(corpus: Corpus, *, full_data: bool = False, **grid: Any) -> Plan:
    return make_plan(study(grid=grid, baseline={"full_data": full_data}), corpus)


def arms(plan: Plan) -> set[tuple[str, float, int | None]]:
    return {(spec.acquisition, spec.dropout_rate, spec.mc_passes) for spec in plan.specs.values()}


def test_counts_by_hand(corpus: Corpus) -> None:
    """2 seeds x (2 acquisitions x 2 rates x 3 T + 2 full-data models); random does not depend on T."""
    plan = planned(corpus, full_data=True, dropout_rate=[0.1, 0.2], mc_passes=[2, 3, 4])
    assert len(plan.cells) == 2 * (2 * 2 * 3 + 2)
    assert len(plan.specs) == 2 * (2 * 3 + 2 + 2)
    merged, refused = plan.notes()
    assert merged == {"random does not depend on T": 12}
    assert not refused


def test_every_cell_leads_to_a_trajectory(corpus: Corpus) -> None:
    plan = planned(corpus, mc_passes=[2, 3])
    assert {cell.trajectory_id for cell in plan.cells} == set(plan.specs)
    assert all(plan.specs[i].trajectory_id == i for i in plan.specs)


def test_without_dropout_entropy_becomes_its_deterministic_twin(corpus: Corpus) -> None:
    plan = planned(corpus, acquisition=["entropy", "softmax_entropy"], dropout_rate=0.0)
    assert arms(plan) == {("softmax_entropy", 0.0, None)}
    assert plan.notes()[0] == {"entropy is softmax_entropy without dropout": 2}


@pytest.mark.parametrize("acquisition", ["bald", "mean_std", "variation_ratio"])
def test_cells_that_are_identically_zero_are_refused_by_name(corpus: Corpus, acquisition: str) -> None:
    plan = planned(corpus, acquisition=[acquisition], dropout_rate=[0.0, 0.5], mc_passes=[1, 4])
    assert arms(plan) == {(acquisition, 0.5, 4)}
    assert plan.notes()[1] == {
        f"{acquisition} is identically 0 without dropout: it picks as random": 4,
        f"{acquisition} is identically 0 at T=1: it picks as random": 2,
    }


def test_a_grid_of_nothing_but_refused_cells(corpus: Corpus) -> None:
    with pytest.raises(RequestError, match=r"every cell of the grid is refused:\nbald is identically 0 at T=1"):
        planned(corpus, acquisition=["bald"], mc_passes=1)


def test_with_two_classes_margin_and_least_confidence_are_entropy(corpus: Corpus, corpus3: Corpus) -> None:
    names = ["entropy", "margin", "least_confidence", "softmax_entropy", "softmax_margin", "softmax_least_confidence"]
    assert arms(planned(corpus, acquisition=names)) == {("entropy", 0.25, 3), ("softmax_entropy", 0.25, None)}
    assert {name for name, _, _ in arms(planned(corpus3, acquisition=names))} == set(names)


def test_a_site_of_its_own_rate_still_drops_at_p_0(corpus: Corpus) -> None:
    with_site = study(grid={"acquisition": ["bald"], "dropout_rate": 0.0}, model={"site_dropout": {"output": 0.5}})
    plan = make_plan(with_site, corpus)
    assert ("bald", 0.0, 3) in arms(plan)
    assert not plan.notes()[1]


def test_a_site_rate_equal_to_p_has_no_effect(corpus: Corpus) -> None:
    plain = make_plan(study(), corpus)
    same = make_plan(study(model={"site_dropout": {"word": 0.25}}), corpus)
    assert set(plain.specs) == set(same.specs)
    assert set(make_plan(study(model={"site_dropout": {"word": 0.5}}), corpus).specs).isdisjoint(plain.specs)


def test_fields_without_effect_are_null(corpus: Corpus) -> None:
    plan = make_plan(study(protocol={"eval_mc_budgets": "none"}), corpus)
    full = next(spec for spec in plan.specs.values() if spec.acquisition == "full_data")
    assert (full.label_budgets, full.pool_subsample, full.mc_passes, full.eval_mc_passes) == (None, None, None, None)


def test_what_means_the_same_has_one_id(corpus: Corpus) -> None:
    def ids(**protocol: Any) -> set[str]:
        return set(make_plan(study(protocol=protocol), corpus).specs)

    assert ids(eval_mc_budgets=[10, 40]) == ids(eval_mc_budgets=[40, 10, 10])
    assert ids(eval_mc_budgets=[40]) == ids(eval_mc_budgets="last")
    assert ids(pool_subsample="all") == ids(pool_subsample=150) == ids(pool_subsample=5000) != ids(pool_subsample=149)
    assert set(planned(corpus, dropout_rate=-0.0).specs) == set(planned(corpus, dropout_rate=0.0).specs)


def test_the_full_data_model_does_not_depend_on_the_budgets(corpus: Corpus) -> None:
    one, other = make_plan(study(), corpus), make_plan(study(protocol={"label_budgets": [5, 40]}), corpus)
    assert {i for i, spec in one.specs.items() if spec.acquisition == "full_data"} == set(one.specs) & set(other.specs)


def test_resources_and_storage_do_not_change_an_id(corpus: Corpus) -> None:
    moved = Study.model_validate({**TINY_STUDY, "storage": "elsewhere", "resources": {"cpu": 2, "scoring_batch": 7}})
    assert set(make_plan(moved, corpus).specs) == set(make_plan(study(), corpus).specs)


def test_more_seeds_arms_rates_or_passes_only_add(corpus: Corpus) -> None:
    base = set(planned(corpus).specs)
    for grid in ({"seeds": 3}, {"acquisition": ["random", "entropy", "bald"]}, {"dropout_rate": [0.25, 0.5]}, {"mc_passes": [3, 7]}):
        more = set(planned(corpus, **grid).specs)
        assert base < more


def test_seed_major_and_the_longest_first(corpus: Corpus) -> None:
    plan = planned(corpus, full_data=True, seeds=[4, 1], acquisition=["random", "softmax_entropy", "entropy"], mc_passes=[2, 30])
    order = list(plan.specs.values())
    assert [spec.seed for spec in order] == [4] * 5 + [1] * 5
    assert order[0].mc_passes == 30
    block = [sum(plan.costs[spec.trajectory_id]) for spec in order[:5]]
    assert block == sorted(block, reverse=True)


def test_budgets_beyond_the_pool(corpus: Corpus) -> None:
    with pytest.raises(RequestError, match="label_budgets ends at 161, but the corpus has 160 training reviews; let the last be"):
        make_plan(study(protocol={"label_budgets": [10, 161]}), corpus)


def test_what_remains(corpus: Corpus) -> None:
    plan = planned(corpus)
    first, *rest = plan.specs
    assert [spec.trajectory_id for spec in plan.remaining({first})] == rest


def test_a_large_grid_is_planned_once_per_trajectory(corpus: Corpus) -> None:
    """20,000 cells: more would be a benchmark; here only that nothing grows faster than the grid."""
    plan = planned(corpus, seeds=500, acquisition=["random", "entropy"], dropout_rate=[0.1, 0.2, 0.3, 0.4], mc_passes=[2, 3, 4, 5, 6])
    assert len(plan.cells) == 20_000
    assert len(plan.specs) == 500 * 4 * 6
