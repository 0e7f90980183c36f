"""The classifier and its masks: against torch's own LSTM, and against loops that spell out what is meant."""

import numpy as np
import pytest
import torch

from tests.conftest import SpecFactory
from trainables.corpus import Corpus
from trainables.mc_dropout import deterministic_log_probs, mc_log_probs, over_chunks, thinned_network
from trainables.model import SequenceMasks, Weights, dropout_mask, initial_weights, logits_BC
from trainables.spec import Execution, TrajectorySpec

V, C = 30, 3


def tiny_weights(spec: TrajectorySpec) -> Weights:
    return initial_weights(spec, V, C, 0)


def batch(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    ids = np.random.default_rng(seed).integers(1, V, (len(lengths), max(lengths))).astype(np.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[length:] = 0
    return torch.from_numpy(ids), torch.tensor(lengths)


def states_by_hand(weights: Weights, ids_L: torch.Tensor, recurrent_mask_H: torch.Tensor | None = None) -> torch.Tensor:
    """(L, H): an LSTM written out (Hochreiter & Schmidhuber 1997, with forget gates), the recurrent state masked at every step."""
    hidden_dim = weights["recurrent"].shape[1]
    h, c, states = torch.zeros(hidden_dim), torch.zeros(hidden_dim), []
    for token in ids_L:
        masked = h if recurrent_mask_H is None else h * recurrent_mask_H
        gates = weights["input"] @ weights["embedding"][int(token)] + weights["input_bias"]
        gates = gates + weights["recurrent"] @ masked + weights["recurrent_bias"]
        i, f, g, o = gates.chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("pooling", ["mean", "last", "max"])
def test_against_an_lstm_written_out(spec: SpecFactory, pooling: str) -> None:
    weights = tiny_weights(spec())
    ids, lengths = batch([7])
    states = states_by_hand(weights, ids[0])
    pooled = {"mean": states.mean(0), "last": states[-1], "max": states.amax(0)}[pooling]
    expected = weights["output"] @ pooled + weights["output_bias"]
    torch.testing.assert_close(logits_BC(weights, ids, lengths, pooling)[0], expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("pooling", ["mean", "last", "max"])
def test_padding_changes_nothing(spec: SpecFactory, pooling: str) -> None:
    weights = tiny_weights(spec())
    ids, lengths = batch([3, 9, 1])
    together = logits_BC(weights, ids, lengths, pooling)  # type: ignore[arg-type]
    for row in range(3):
        alone = logits_BC(weights, ids[row : row + 1, : int(lengths[row])], lengths[row : row + 1], pooling)  # type: ignore[arg-type]
        torch.testing.assert_close(together[row], alone[0])


def test_a_thinned_network_is_the_recurrent_mask_held_over_time(spec: SpecFactory) -> None:
    """(h*z) W^T = h (diag(z) W^T): masking columns of the weights equals masking the state at every step."""
    tiny = spec(dropout_rate=0.5, word_dropout=0.0, input_dropout=0.0, output_dropout=0.0)
    weights = tiny_weights(tiny)
    thinned = thinned_network(weights, tiny, 0, 0)
    mask_H = (thinned["recurrent"] / weights["recurrent"])[0]
    assert set(mask_H.round(decimals=4).tolist()) == {0.0, 2.0}
    ids, lengths = batch([6])
    expected = weights["output"] @ states_by_hand(weights, ids[0], mask_H).mean(0) + weights["output_bias"]
    torch.testing.assert_close(logits_BC(thinned, ids, lengths, "mean")[0], expected)


def test_sequence_masks_and_thinned_weights_are_the_same_thing(spec: SpecFactory) -> None:
    """Training masks a review's words, inputs and outputs; a thinned network masks the weights: one mathematics."""
    tiny = spec(dropout_rate=0.5, recurrent_dropout=0.0)
    weights = tiny_weights(tiny)
    thinned = thinned_network(weights, tiny, 0, 3)
    ids, lengths = batch([5])
    word_V = (thinned["embedding"] / weights["embedding"])[:, 0]
    masks = SequenceMasks(
        word_BL=word_V[ids.long()],
        input_BE=(thinned["input"] / weights["input"])[:1],
        output_BH=(thinned["output"] / weights["output"])[:1],
    )
    torch.testing.assert_close(logits_BC(weights, ids, lengths, "mean", masks), logits_BC(thinned, ids, lengths, "mean"))


def test_dropout_masks_have_mean_one() -> None:
    mask = dropout_mask(np.random.default_rng(0), (200_000,), 0.3)
    assert set(np.unique(mask).tolist()) == {0.0, np.float32(1) / np.float32(0.7)}
    assert abs(mask.mean() - 1) < 5 * np.sqrt(0.3 / 0.7 / 200_000)
    assert (dropout_mask(np.random.default_rng(0), (100,), 0.0) == 1).all()


class TestThinnedNetworksOnAPool:
    @pytest.fixture
    def weights(self, spec: SpecFactory, corpus: Corpus) -> Weights:
        return {name: 3 * value for name, value in initial_weights(spec(), corpus.num_embeddings, 2, 0).items()}

    def test_a_reviews_distributions_do_not_depend_on_its_company(self, spec: SpecFactory, corpus: Corpus, weights: Weights) -> None:
        rows = np.arange(40)
        options = {"round_": 1, "passes": 4, "execution": Execution(scoring_batch=16)}
        together = mc_log_probs(weights, spec(), corpus.train, rows, **options)  # type: ignore[arg-type]
        for other_rows, batch_size in ((rows[::-1], 16), (rows[5:9], 3), (rows[7:8], 1)):
            options["execution"] = Execution(scoring_batch=batch_size)
            apart = mc_log_probs(weights, spec(), corpus.train, other_rows, **options)  # type: ignore[arg-type]
            np.testing.assert_allclose(apart, together[other_rows], atol=1e-5)

    def test_chunks_change_nothing(self, spec: SpecFactory, corpus: Corpus, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
        def first_class(rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
            log_probs = mc_log_probs(weights, spec(), corpus.train, rows, round_=0, passes=2, execution=Execution(scoring_batch=8))
            return log_probs[:, :, 0].mean(axis=1)

        rows = np.random.default_rng(0).permutation(50)
        whole = over_chunks(corpus.train, rows, first_class)
        monkeypatch.setattr("trainables.mc_dropout.CHUNK", 16)
        np.testing.assert_allclose(over_chunks(corpus.train, rows, first_class), whole, atol=1e-6)

    def test_a_smaller_t_is_the_beginning_of_a_larger(self, spec: SpecFactory, corpus: Corpus, weights: Weights) -> None:
        rows = np.arange(20)
        few, many = (mc_log_probs(weights, spec(), corpus.train, rows, round_=2, passes=passes, execution=Execution()) for passes in (3, 7))
        assert (many[:, :3] == few).all()
        assert (many[:, 3] != many[:, 2]).any()

    def test_without_dropout_every_pass_is_the_deterministic_network(self, spec: SpecFactory, corpus: Corpus, weights: Weights) -> None:
        rows = np.arange(20)
        passes = mc_log_probs(weights, spec(dropout_rate=0.0), corpus.train, rows, round_=0, passes=3, execution=Execution())
        deterministic = deterministic_log_probs(weights, spec(), corpus.train, rows, Execution())
        assert (passes == deterministic[:, None]).all()

    def test_networks_differ_by_seed_and_round_but_not_by_arm(self, spec: SpecFactory, corpus: Corpus, weights: Weights) -> None:
        one = thinned_network(weights, spec(acquisition="bald", mc_passes=5), 1, 0)
        same = thinned_network(weights, spec(acquisition="entropy", mc_passes=50), 1, 0)
        assert all(torch.equal(one[name], same[name]) for name in one)
        for other in (thinned_network(weights, spec(seed=1), 1, 0), thinned_network(weights, spec(), 2, 0)):
            assert not torch.equal(one["embedding"], other["embedding"])
