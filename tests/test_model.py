"""The classifier and its masks: against torch's own LSTM, and against loops that spell out what is meant."""

from functools import partial

import numpy as np
import pytest
import torch

from tests.conftest import SpecFactory
from trainables.arrays import Floats, Rows
from trainables.classifier import Weights, dropout_mask
from trainables.corpus import Corpus
from trainables.lstm import Lstm
from trainables.mc_dropout import Distributions, ThinnedNetworks, in_parts
from trainables.model import SequenceMasks, logits_BC, torch_lstm
from trainables.spec import Execution, TrajectorySpec

V, C = 30, 3


def tiny_weights(spec: TrajectorySpec) -> Weights:
    return Lstm(spec, Execution()).initial_weights(V, C, 0)


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


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_by_torch_is_near_on_any_processor(spec: SpecFactory, monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr("trainables.model.has_fast_bfloat16", lambda: fast)
    weights = tiny_weights(spec())
    ids, lengths = batch([7, 4])
    exact, rounded = (logits_BC(weights, ids, lengths, "mean", lstm=partial(torch_lstm, precision=p)) for p in ("float32", "bfloat16"))
    torch.testing.assert_close(rounded, exact, atol=5e-3, rtol=0)
    assert not torch.equal(rounded, exact)


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
    thinned = ThinnedNetworks(Lstm(tiny, Execution()), weights, 0).of_pass(0)
    mask_H = (thinned["recurrent"] / weights["recurrent"])[0]
    assert set(mask_H.round(decimals=4).tolist()) == {0.0, 2.0}
    ids, lengths = batch([6])
    expected = weights["output"] @ states_by_hand(weights, ids[0], mask_H).mean(0) + weights["output_bias"]
    torch.testing.assert_close(logits_BC(thinned, ids, lengths, "mean")[0], expected)


def test_sequence_masks_and_thinned_weights_are_the_same_thing(spec: SpecFactory) -> None:
    """Training masks a review's words, inputs and outputs; a thinned network masks the weights: one mathematics."""
    tiny = spec(dropout_rate=0.5, recurrent_dropout=0.0)
    weights = tiny_weights(tiny)
    thinned = ThinnedNetworks(Lstm(tiny, Execution()), weights, 0).of_pass(3)
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
        return {name: 3 * value for name, value in Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0).items()}

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_a_reviews_distributions_do_not_depend_on_its_company(
        self, spec: SpecFactory, corpus: Corpus, weights: Weights, precision: str, compiled: bool
    ) -> None:
        """By the kernel to the last bit; by torch to rounding."""
        rows = np.arange(40)
        tiny = spec(precision=precision)
        together = Distributions(Lstm(tiny, Execution(compiled=compiled)), weights, corpus.train, rows).stacked(4, 1)
        for other_rows, batch_size, threads in ((rows[::-1], 16, 1), (rows[5:9], 3, 3), (rows[7:8], 1, 1), (rows[3:30], 8, 2)):
            execution = Execution(compiled=compiled, scoring_batch=batch_size, threads=threads)
            apart = Distributions(Lstm(tiny, execution), weights, corpus.train, other_rows).stacked(4, 1)
            if compiled:
                assert (apart == together[other_rows]).all()
            else:
                np.testing.assert_allclose(apart, together[other_rows], atol=1e-5 if precision == "float32" else 0.02)

    def test_parts_change_nothing(self, spec: SpecFactory, corpus: Corpus, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
        def first_class(rows: Rows) -> Floats:
            log_probs = Distributions(Lstm(spec(), Execution(scoring_batch=8)), weights, corpus.train, rows).stacked(2, 0)
            return np.asarray(log_probs[:, :, 0].mean(axis=1))

        rows = np.random.default_rng(0).permutation(50)
        whole = in_parts(rows, 4, first_class)
        monkeypatch.setattr("trainables.mc_dropout.HELD_NUMBERS", 64)
        np.testing.assert_allclose(in_parts(rows, 4, first_class), whole, atol=1e-6)

    def test_what_no_mask_touches_is_computed_once(
        self, spec: SpecFactory, corpus: Corpus, weights: Weights, compiled: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Dropout of the pooled output alone: one pass through the LSTM for all T, to the bits of T passes."""
        only_output = spec(word_dropout=0.0, input_dropout=0.0, recurrent_dropout=0.0, dropout_rate=0.5)
        rows, execution = np.arange(20), Execution(compiled=compiled)
        networks = ThinnedNetworks(Lstm(only_output, Execution()), weights, 0)
        apart = [Lstm(only_output, execution).log_probs_NC(networks.of_pass(t), corpus.train, rows) for t in range(3)]
        computed = []
        compute = Lstm.hidden_NH
        monkeypatch.setattr(Lstm, "hidden_NH", lambda *arguments: computed.append(1) or compute(*arguments))
        together = Distributions(Lstm(only_output, execution), weights, corpus.train, rows)
        assert (np.stack(list(together.of_passes(3, 0))) == np.stack(apart)).all()
        assert (together.deterministic() == Distributions(Lstm(only_output, execution), weights, corpus.train, rows).deterministic()).all()
        assert len(computed) == 2  # once for all of them, once for the comparison in the line above
        assert (apart[0] != apart[1]).any()

    def test_a_smaller_t_is_the_beginning_of_a_larger(self, spec: SpecFactory, corpus: Corpus, weights: Weights) -> None:
        rows = np.arange(20)
        few, many = (Distributions(Lstm(spec(), Execution()), weights, corpus.train, rows).stacked(passes, 2) for passes in (3, 7))
        assert (many[:, :3] == few).all()
        assert (many[:, 3] != many[:, 2]).any()

    def test_without_dropout_every_pass_is_the_deterministic_network(self, spec: SpecFactory, corpus: Corpus, weights: Weights) -> None:
        rows = np.arange(20)
        passes = Distributions(Lstm(spec(dropout_rate=0.0), Execution()), weights, corpus.train, rows).stacked(3, 0)
        deterministic = Distributions(Lstm(spec(), Execution()), weights, corpus.train, rows).deterministic()
        assert (passes == deterministic[:, None]).all()

    def test_networks_differ_by_seed_and_round_but_not_by_arm(self, spec: SpecFactory, corpus: Corpus, weights: Weights) -> None:
        one = ThinnedNetworks(Lstm(spec(acquisition="bald", mc_passes=5), Execution()), weights, 1).of_pass(0)
        same = ThinnedNetworks(Lstm(spec(acquisition="entropy", mc_passes=50), Execution()), weights, 1).of_pass(0)
        assert all(torch.equal(one[name], same[name]) for name in one)
        for other in (
            ThinnedNetworks(Lstm(spec(seed=1), Execution()), weights, 1).of_pass(0),
            ThinnedNetworks(Lstm(spec(), Execution()), weights, 2).of_pass(0),
        ):
            assert not torch.equal(one["embedding"], other["embedding"])
