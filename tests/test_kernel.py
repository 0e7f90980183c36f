"""The compiled LSTM against torch's: passes, gradients, other instruction sets, and machines without a compiler."""

import ctypes
import gc
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SpecFactory
from trainables.build import COMPILERS, FLAGS, SOURCE, c_compiler
from trainables.classifier import Weights
from trainables.corpus import Corpus
from trainables.kernel import Kernel, kernel
from trainables.lstm import Lstm
from trainables.mc_dropout import Distributions
from trainables.model import torch_lstm
from trainables.node import drawbacks
from trainables.processor import processor_flags
from trainables.recurrence import CompiledLstm
from trainables.spec import Execution, Pooling, Precision
from trainables.training import fit

OTHER_PROCESSORS = {"haswell": {"avx2", "fma"}, "sandybridge": {"avx"}, "x86-64": set()}
"""With 8 lanes and fused products, 8 lanes without, 4 lanes; and the flags of a processor that runs it."""

LOAD = "from trainables.build import load_library; print(load_library()[1])"
"""A process that has a kernel, or fails."""

needs_compiler = pytest.mark.skipif(kernel() is None, reason="no C compiler")


def native() -> Kernel:
    found = kernel()
    assert found is not None
    return found


@pytest.fixture(scope="module", params=OTHER_PROCESSORS)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    """The same source built for an older processor."""
    if platform.machine() != "x86_64" or not OTHER_PROCESSORS[request.param] <= processor_flags():
        pytest.skip("this processor does not run that code")
    target = tmp_path_factory.mktemp("kernels") / f"{request.param}.so"
    flags = [f"-march={request.param}" if flag == "-march=native" else flag for flag in FLAGS]
    subprocess.run([c_compiler(), *flags, str(SOURCE), "-o", str(target)], check=True)
    library = ctypes.CDLL(str(target))
    return Kernel(library, request.param, library.lanes(), bool(library.native_bfloat16()))


def random_weights(E: int, H: int, seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    shapes = {"input": (4 * H, E), "recurrent": (4 * H, H), "input_bias": (4 * H,), "recurrent_bias": (4 * H,)}
    return {name: torch.from_numpy(rng.normal(0, 0.3, shape).astype(np.float32)) for name, shape in shapes.items()}


def gradients(lstm: object, E: int, H: int, lengths: list[int]) -> dict[str, torch.Tensor]:
    """States, and the gradients of a fixed function of them, by name."""
    weights = {name: value.requires_grad_() for name, value in random_weights(E, H).items()}
    rng = np.random.default_rng(1)
    lengths_B = torch.tensor(sorted(lengths, reverse=True))
    x_LBE = torch.from_numpy(rng.normal(size=(max(lengths), len(lengths), E)).astype(np.float32)).requires_grad_()
    states_LBH = lstm(weights, x_LBE, lengths_B)  # type: ignore[operator]
    readout = torch.from_numpy(rng.normal(size=states_LBH.shape).astype(np.float32))
    torch.autograd.backward((states_LBH * readout).sum())
    found = {"states": states_LBH.detach(), "x": x_LBE.grad} | {name: value.grad for name, value in weights.items()}
    return {name: value for name, value in found.items() if value is not None}


def furthest(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Largest difference, as a fraction of the largest number of its kind."""
    assert set(found) == set(expected)
    return max(float((found[name] - expected[name]).abs().max() / expected[name].abs().max()) for name in expected)


@needs_compiler
class TestAgainstTorch:
    @pytest.mark.parametrize("pooling", ["mean", "last", "max"])
    @pytest.mark.parametrize("hidden_dim", [5, 16, 40])
    def test_passes(self, spec: SpecFactory, corpus: Corpus, pooling: Pooling, hidden_dim: int) -> None:
        one = spec(hidden_dim=hidden_dim, pooling=pooling)
        weights = {name: 3 * value for name, value in Lstm(one, Execution()).initial_weights(corpus.num_embeddings, 2, 0).items()}
        rows = np.random.default_rng(0).permutation(len(corpus.train))
        compiled, by_torch = (
            Distributions(Lstm(one, Execution(compiled=which)), weights, corpus.train, rows).stacked(3, 0) for which in (True, False)
        )
        np.testing.assert_allclose(compiled, by_torch, atol=3e-6)
        rounded = spec(hidden_dim=hidden_dim, pooling=pooling, precision="bfloat16")
        in_bfloat16 = Distributions(Lstm(rounded, Execution()), weights, corpus.train, rows).stacked(3, 0)
        np.testing.assert_allclose(in_bfloat16, compiled, atol=0.05)
        assert (in_bfloat16 != compiled).any()

    @settings(max_examples=25, deadline=None)
    @given(st.integers(1, 40), st.integers(1, 70), st.lists(st.integers(1, 12), min_size=1, max_size=20))
    def test_states_and_gradients(self, E: int, H: int, lengths: list[int]) -> None:
        expected = gradients(torch_lstm, E, H, lengths)
        assert furthest(gradients(CompiledLstm(native(), "float32"), E, H, lengths), expected) < 1e-5
        assert furthest(gradients(CompiledLstm(native(), "bfloat16"), E, H, lengths), expected) < 0.08

    def test_memory_that_is_used_again_leaks_nothing(self) -> None:
        lstm = CompiledLstm(native(), "float32")
        gradients(lstm, 8, 20, [12, 11, 3])
        again = gradients(lstm, 8, 20, [5, 2, 1, 1])
        assert furthest(again, gradients(CompiledLstm(native(), "float32"), 8, 20, [5, 2, 1, 1])) == 0

    def test_what_a_batch_held_is_let_go_at_once(self) -> None:
        """A graph that held its own output would keep the states of many batches, until the garbage collector came by."""
        gc.collect()
        gc.disable()
        try:
            gradients(CompiledLstm(native(), "float32"), 8, 20, [5, 2])
            assert [thing for thing in gc.get_objects() if type(thing).__name__ == "_RecurrenceBackward"] == []
        finally:
            gc.enable()

    def test_a_batch_whose_memory_was_used_again_is_refused(self) -> None:
        lstm, lengths = CompiledLstm(native(), "float32"), torch.tensor([2])
        weights = {name: value.requires_grad_() for name, value in random_weights(3, 4).items()}
        first = lstm(weights, torch.ones(2, 1, 3), lengths)
        lstm(weights, torch.ones(2, 1, 3), lengths)
        with pytest.raises(RuntimeError, match="another batch has used"):
            torch.autograd.backward(first.sum())

    def test_a_token_beyond_the_vocabulary_is_refused(self, spec: SpecFactory, corpus: Corpus) -> None:
        weights = Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings - 1, 2, 0)
        with pytest.raises(IndexError, match=f"token id {corpus.num_embeddings - 1} in a vocabulary of {corpus.num_embeddings - 1}"):
            Lstm(spec(), Execution()).log_probs_NC(weights, corpus.train, np.arange(3))

    def test_no_reviews_are_no_trouble(self, spec: SpecFactory, corpus: Corpus) -> None:
        weights = Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0)
        assert Lstm(spec(), Execution()).log_probs_NC(weights, corpus.train, np.arange(0)).shape == (0, 2)

    def test_a_whole_fit(self, spec: SpecFactory, corpus: Corpus) -> None:
        start = Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0)
        compiled, by_torch = (
            fit(Lstm(spec(), Execution(compiled=which)), corpus.train, np.arange(30), start, 0) for which in (True, False)
        )
        assert compiled.train_loss == pytest.approx(by_torch.train_loss, rel=1e-4)
        for name, value in by_torch.weights.items():
            torch.testing.assert_close(compiled.weights[name], value, atol=2e-3, rtol=0)

    def test_saturated_gates_are_exact(self) -> None:
        """Gates of +-1000 are open or shut: the cell counts the steps, and nothing overflows."""
        weights = {name: torch.zeros_like(value) for name, value in random_weights(1, 1).items()}
        weights["input_bias"] = torch.tensor([1000.0, 1000.0, 1000.0, 1000.0])
        states_LBH = CompiledLstm(native(), "float32")(weights, torch.zeros(3, 1, 1), torch.tensor([3]))
        np.testing.assert_allclose(states_LBH[:, 0, 0], np.tanh([1, 2, 3]), rtol=1e-6)
        weights["input_bias"] = -weights["input_bias"]
        assert CompiledLstm(native(), "float32")(weights, torch.zeros(3, 1, 1), torch.tensor([3])).abs().max() < 1e-11

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_nan_stays_nan(self, spec: SpecFactory, corpus: Corpus, precision: Precision) -> None:
        weights = Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0)
        weights["recurrent"][3, 2] = torch.nan
        one = spec(precision=precision, dropout_rate=0.0)
        log_probs = Distributions(Lstm(one, Execution()), weights, corpus.train, np.arange(5)).stacked(1, 0)
        assert np.isnan(log_probs[corpus.train.lengths_N[:5] > 1]).all()


@needs_compiler
class TestOtherProcessors:
    """What one processor computes, another computes to rounding."""

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_gradients(self, other: Kernel, precision: Precision) -> None:
        shape = (9, 20, [7, 7, 5, 3, 3, 3, 2, 1])
        expected = gradients(CompiledLstm(native(), precision), *shape)
        assert furthest(gradients(CompiledLstm(other, precision), *shape), expected) < (1e-5 if precision == "float32" else 0.02)

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_passes(self, other: Kernel, spec: SpecFactory, corpus: Corpus, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
        one = spec(hidden_dim=20, precision=precision)
        weights = {name: 3 * value for name, value in Lstm(one, Execution()).initial_weights(corpus.num_embeddings, 2, 0).items()}
        found = []
        for built in (native(), other):
            monkeypatch.setattr("trainables.passes.kernel", lambda built=built: built)
            found.append(Distributions(Lstm(one, Execution()), weights, corpus.train, np.arange(50)).stacked(2, 0))
        np.testing.assert_allclose(found[1], found[0], atol=3e-6 if precision == "float32" else 0.01)


class TestBuilding:
    @pytest.fixture(autouse=True)
    def _fresh(self) -> Iterator[None]:
        kernel.cache_clear()
        yield
        kernel.cache_clear()

    @needs_compiler
    def test_it_is_built_once_and_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AL_SWEEP_CACHE", str(tmp_path))
        assert kernel() is not None
        (built,) = (tmp_path / "kernels").iterdir()
        made = built.stat().st_mtime_ns
        kernel.cache_clear()
        assert kernel() is not None
        assert built.stat().st_mtime_ns == made

    def test_without_a_compiler_torch_computes(self, monkeypatch: pytest.MonkeyPatch, spec: SpecFactory, corpus: Corpus) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CC", raising=False)
        assert kernel() is None
        weights = Lstm(spec(), Execution()).initial_weights(corpus.num_embeddings, 2, 0)
        rows = np.arange(10)
        found = Distributions(Lstm(spec(), Execution()), weights, corpus.train, rows).stacked(2, 0)
        assert found.shape == (10, 2, 2)

    @needs_compiler
    def test_what_a_crash_left_of_it_is_built_again(self, tmp_path: Path) -> None:
        environment = os.environ | {"AL_SWEEP_CACHE": str(tmp_path)}
        subprocess.run([sys.executable, "-c", LOAD], env=environment, check=True)
        (built,) = (tmp_path / "kernels").iterdir()
        built.write_bytes(b"")
        subprocess.run([sys.executable, "-c", LOAD], env=environment, check=True)
        assert built.stat().st_size > 1000

    @needs_compiler
    def test_many_processes_build_it_at_once(self, tmp_path: Path) -> None:
        environment = os.environ | {"AL_SWEEP_CACHE": str(tmp_path)}
        started = [subprocess.Popen([sys.executable, "-c", LOAD], env=environment, stdout=subprocess.PIPE) for _ in range(4)]
        assert len({process.communicate()[0] for process in started}) == 1
        assert [process.returncode for process in started] == [0] * 4
        assert len(list((tmp_path / "kernels").iterdir())) == 1

    @needs_compiler
    def test_a_cache_that_cannot_be_written_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("AL_SWEEP_CACHE", str(tmp_path / "file"))
        assert kernel() is None
        (text,) = drawbacks(Execution(), "lstm", "float32")
        assert "the compiled LSTM cannot be kept or loaded" in text
        assert "set AL_SWEEP_CACHE to another folder" in text

    def test_a_compiler_that_fails_is_told_in_its_own_words(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        broken = tmp_path / "bin" / COMPILERS[0]
        broken.parent.mkdir()
        broken.write_text("#!/bin/sh\ncase $1 in --version) echo broken;; *) echo 'error: stdint.h not found' >&2; exit 1;; esac\n")
        broken.chmod(0o755)
        monkeypatch.setenv("PATH", f"{broken.parent}:/bin:/usr/bin")
        monkeypatch.setenv("AL_SWEEP_CACHE", str(tmp_path))
        monkeypatch.delenv("CC", raising=False)
        assert kernel() is None
        (text,) = drawbacks(Execution(), "lstm", "float32")
        assert f"the C compiler {broken} fails (error: stdint.h not found); install a complete one" in text
        assert not (tmp_path / "kernels").exists()

    @needs_compiler
    def test_the_source_has_no_warnings(self, tmp_path: Path) -> None:
        strict = [c_compiler(), *FLAGS, "-Wall", "-Wextra", "-Werror", str(SOURCE), "-o", str(tmp_path / "strict.so")]
        assert subprocess.run(strict, capture_output=True, text=True, check=False).stderr == ""

    def test_its_records_say_what_it_is(self) -> None:
        library = ctypes.CDLL(None)
        assert str(Kernel(library, "0123abcd", 16, True)) == "compiled 0123abcd, 16 lanes, bfloat16"
        assert str(Kernel(library, "0123abcd", 8, False)) == "compiled 0123abcd, 8 lanes"
