"""The active-learning loop against its oracles, and against what it acquired when it was written."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SpecFactory
from trainables.corpus import Corpus
from trainables.errors import ComputationError, LedgerError
from trainables.rounds import PLACE_COLUMNS, SCIENCE_COLUMNS, Round
from trainables.spec import Execution, TrajectorySpec
from trainables.trajectory import class_balance, initial_set, pool_subsample, rounds

ARMS = {
    "random": None, "softmax_entropy": None, "softmax_margin": None, "softmax_least_confidence": None,
    "entropy": 4, "margin": 4, "least_confidence": 4, "bald": 4, "mean_std": 4, "variation_ratio": 4,
    "power_bald": 4, "epig": 4, "batch_bald": 4, "k_center": None, "badge": None,
}  # fmt: skip


def run(spec: TrajectorySpec, corpus: Corpus, finished: Sequence[Round] = ()) -> list[Round]:
    return [*finished, *rounds(spec, corpus, finished, Execution())]


def science(done: Sequence[Round]) -> list[tuple[object, ...]]:
    return [(*(getattr(r.row, name) for name in SCIENCE_COLUMNS), r.acquired) for r in done]


def acquired(done: Sequence[Round]) -> list[tuple[int, ...]]:
    return [r.acquired for r in done]


@pytest.mark.parametrize(("acquisition", "passes"), ARMS.items())
def test_labelled_and_pool_are_disjoint_and_constant_together(
    spec: SpecFactory, corpus: Corpus, acquisition: str, passes: int | None
) -> None:
    done = run(spec(acquisition=acquisition, mc_passes=passes), corpus)
    assert [r.row.num_labelled for r in done] == [10, 20, 30, 40]
    assert [len(r.acquired) for r in done] == [10, 10, 10, 0]
    labelled = initial_set(spec(), len(corpus.train))
    assert len(labelled) == 10
    for finished_round in done[:-1]:
        pool = pool_subsample(spec(pool_subsample=None), len(corpus.train), labelled, 10, finished_round.row.round)
        assert not set(pool) & set(labelled)
        assert set(pool) | set(labelled) == set(range(len(corpus.train)))
        assert set(finished_round.acquired) <= set(pool)
        labelled = np.concatenate([labelled, finished_round.acquired])
    assert len(set(labelled)) == 40


@pytest.mark.parametrize("acquisition", ["bald", "mean_std", "variation_ratio", "power_bald", "epig", "batch_bald"])
def test_one_pass_picks_as_random_does(spec: SpecFactory, corpus: Corpus, acquisition: str) -> None:
    assert acquired(run(spec(acquisition=acquisition, mc_passes=1), corpus)) == acquired(run(spec(), corpus))


def test_without_dropout_entropy_is_softmax_entropy(spec: SpecFactory, corpus: Corpus) -> None:
    mc = run(spec(acquisition="entropy", mc_passes=5, dropout_rate=0.0), corpus)
    deterministic = run(spec(acquisition="softmax_entropy", dropout_rate=0.0), corpus)
    assert acquired(mc) == acquired(deterministic)
    assert [r.row.nll_deterministic for r in mc] == [r.row.nll_deterministic for r in deterministic]
    assert mc[-1].row.nll_mc == pytest.approx(mc[-1].row.nll_deterministic, abs=1e-7)


def test_arms_of_a_seed_share_their_start(spec: SpecFactory, corpus: Corpus) -> None:
    first = [run(spec(acquisition=name, mc_passes=passes, label_budgets=(10, 20)), corpus)[0] for name, passes in ARMS.items()]
    assert len({r.row.initial_set_hash for r in first}) == 1
    assert len({r.row.initial_weights_hash for r in first}) == 1
    assert len({r.row.nll_deterministic for r in first}) == 1
    other = run(spec(seed=1), corpus)[0]
    assert other.row.initial_set_hash != first[0].row.initial_set_hash
    assert other.row.initial_weights_hash != first[0].row.initial_weights_hash


def test_arms_differ_in_what_they_acquire(spec: SpecFactory, corpus: Corpus) -> None:
    names = ("random", "softmax_entropy", "entropy", "mean_std")
    assert len({acquired(run(spec(acquisition=name, mc_passes=ARMS[name]), corpus))[0] for name in names}) == 4


@settings(max_examples=8, deadline=None)
@given(finished=st.integers(0, 4), arm=st.sampled_from(["random", "entropy", "bald", "batch_bald", "badge"]), warm=st.booleans())
def test_going_on_is_the_same_as_never_having_stopped(spec: SpecFactory, corpus: Corpus, finished: int, arm: str, warm: bool) -> None:
    tiny = spec(acquisition=arm, mc_passes=ARMS[arm], warm_start=warm)
    whole = run(tiny, corpus)
    assert science(run(tiny, corpus, whole[:finished])) == science(whole)


def test_two_processes_give_the_same_trajectory(spec: SpecFactory, corpus: Corpus) -> None:
    tiny = spec(acquisition="bald", mc_passes=3)
    program = (
        "import sys\n"
        "from tests.test_trajectory import run, science\n"
        "from trainables.corpus import encode\n"
        "from trainables.sources.synthetic import SyntheticSource\n"
        "from trainables.spec import TrajectorySpec\n"
        "import torch; torch.set_num_threads(1)\n"
        "corpus = encode('synthetic', SyntheticSource(160, 60, 2, 0).read(), max_tokens=30, vocabulary_size=10_000)\n"
        "print(science(run(TrajectorySpec.from_json(sys.argv[1]), corpus)))\n"
    )
    printed = [
        subprocess.run([sys.executable, "-c", program, tiny.canonical_json()], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert printed[0] == printed[1] == f"{science(run(tiny, corpus))}\n"


def test_the_full_data_model_is_a_trajectory_of_one_round(spec: SpecFactory, corpus: Corpus) -> None:
    full = spec(acquisition="full_data", label_budgets=None, pool_subsample=None, eval_mc_budgets=(160,))
    (only,) = run(full, corpus)
    assert only.row.num_labelled == 160
    assert only.acquired == ()
    assert only.row.initial_set_hash is None
    assert only.row.accuracy_mc is not None
    assert only.row.initial_weights_hash == run(spec(), corpus)[0].row.initial_weights_hash
    assert only.row.gradient_steps == 40  # 2 epochs x 160 / 8


def test_the_mc_prediction_is_measured_where_it_is_asked_for(spec: SpecFactory, corpus: Corpus) -> None:
    done = run(spec(eval_mc_budgets=(20,)), corpus)
    assert [r.row.accuracy_mc is not None for r in done] == [False, True, False, False]
    assert set(done[1].predictions) == {"deterministic", "mc"}
    assert done[1].predictions["mc"].shape == (60, 2)
    assert done[1].predictions["mc"].dtype == np.float32
    assert not done[0].predictions


def test_predictions_can_be_left_out(spec: SpecFactory, corpus: Corpus) -> None:
    kept = run(spec(), corpus)
    left_out = list(rounds(spec(), corpus, [], Execution(store_predictions=False)))
    assert not any(r.predictions for r in left_out)
    assert science(left_out) == science(kept)


def test_a_validation_split_counts_as_labels(spec: SpecFactory, corpus: Corpus) -> None:
    done = run(spec(validation_fraction=0.3), corpus)
    assert [r.row.num_labelled for r in done] == [10, 20, 30, 40]
    assert all(r.row.accuracy_validation is not None for r in done)
    without = run(spec(), corpus)
    assert without[0].row.accuracy_validation is None
    assert done[0].row.train_loss != without[0].row.train_loss
    prior = [(r.row.train_objective - r.row.train_loss) for r in (done[0], without[0])]
    assert prior[0] > prior[1]  # N is 7 instead of 10 in the prior term


def test_warm_starts_go_on_from_the_weights_before(spec: SpecFactory, corpus: Corpus) -> None:
    warm, cold = run(spec(warm_start=True), corpus), run(spec(), corpus)
    assert warm[0].row.initial_weights_hash == cold[0].row.initial_weights_hash
    assert warm[1].row.initial_weights_hash != cold[1].row.initial_weights_hash


def test_a_pool_smaller_than_the_subsample_is_scored_whole(spec: SpecFactory, corpus: Corpus) -> None:
    whole = run(spec(acquisition="softmax_entropy", pool_subsample=None), corpus)
    assert acquired(run(spec(acquisition="softmax_entropy", pool_subsample=5000), corpus)) == acquired(whole)
    assert acquired(run(spec(acquisition="softmax_entropy"), corpus)) != acquired(whole)


def test_the_subsample_grows_with_the_batch(spec: SpecFactory, corpus: Corpus) -> None:
    """A batch of 10 from a subsample of 1 scores 100 reviews: 10 times the batch."""
    least = run(spec(acquisition="softmax_entropy", pool_subsample=1), corpus)
    assert acquired(least) == acquired(run(spec(acquisition="softmax_entropy", pool_subsample=100), corpus))


def test_arms_share_nearly_all_of_the_subsample(spec: SpecFactory, corpus: Corpus) -> None:
    one = pool_subsample(spec(), len(corpus.train), np.arange(10), 1, 2)
    other = pool_subsample(spec(), len(corpus.train), np.arange(10, 20), 1, 2)
    assert len(one) == 60
    assert len(np.intersect1d(one, other)) >= 50
    assert not set(one) & set(range(10))


@pytest.mark.parametrize("acquisition", ["entropy", "bald", "variation_ratio"])
def test_three_classes(spec: SpecFactory, corpus3: Corpus, acquisition: str) -> None:
    done = run(spec(corpus=corpus3.digest, acquisition=acquisition, mc_passes=3), corpus3)
    assert done[-1].predictions["mc"].shape == (60, 3)


def test_class_balance() -> None:
    assert class_balance(np.array([0, 1, 0, 1], dtype=np.int32), 2) == pytest.approx(1)
    assert class_balance(np.array([1, 1], dtype=np.int32), 2) == 0
    assert class_balance(np.array([0, 1], dtype=np.int32), 4) == pytest.approx(0.5)


def test_a_loss_that_is_not_finite_names_trajectory_round_and_step(spec: SpecFactory, corpus: Corpus) -> None:
    broken = spec(learning_rate=1e38, prior_length_scale=1e19)
    with pytest.raises(
        ComputationError, match=rf"trajectory {broken.trajectory_id}, round 0: the training loss is .* at gradient step \d+"
    ):
        run(broken, corpus)


def test_scores_that_are_not_finite_are_an_error(spec: SpecFactory, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.acquisition import ACQUISITIONS

    broken = replace(ACQUISITIONS["random"], score=lambda log_probs: np.full(len(log_probs), np.nan))
    monkeypatch.setitem(ACQUISITIONS, "random", broken)
    with pytest.raises(ComputationError, match=r"round 0: random gave 100 scores that are not finite"):
        run(spec(), corpus)


def test_a_ledger_of_another_corpus_is_refused(spec: SpecFactory, corpus: Corpus) -> None:
    done = run(spec(), corpus)
    foreign = [replace(done[0], row=replace(done[0].row, initial_set_hash="0"))]
    with pytest.raises(LedgerError, match="another initial set"):
        run(spec(), corpus, foreign)
    with pytest.raises(LedgerError, match="acquired a review twice"):
        run(spec(), corpus, [done[0], replace(done[1], acquired=done[0].acquired)])


def test_what_was_acquired_is_what_was_approved(spec: SpecFactory, corpus: Corpus) -> None:
    """A silent change of science shows here; a meant one bumps SCIENCE_VERSION. Choices by score may differ by processor: these do not."""
    assert acquired(run(spec(), corpus))[:2] == [(85, 87, 50, 28, 35, 89, 110, 101, 65, 11), (120, 80, 106, 139, 103, 8, 98, 57, 144, 138)]
    assert acquired(run(spec(acquisition="variation_ratio", mc_passes=4), corpus))[0] == (85, 87, 50, 28, 35, 89, 110, 101, 65, 11)


def test_place_columns_are_no_science() -> None:
    assert "tokens_per_second" in PLACE_COLUMNS
    assert not PLACE_COLUMNS & set(SCIENCE_COLUMNS)
