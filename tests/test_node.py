"""A machine that lacks something is refused by name, with the remedy; by a worker process and by the preflight of a cluster alike."""

import dataclasses
import io
import json
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from sweep import cluster
from sweep.cluster import QUIET, preflight
from sweep.launch import main
from sweep.lease import held
from sweep.runner import context_of
from sweep.sections import Resources
from sweep.study import Study
from tests.conftest import TINY_STUDY, StudyWriter
from trainables import node
from trainables.errors import NodeError, RequestError
from trainables.node import TrialContext, check, drawbacks, problems
from trainables.processor import processor_name
from trainables.spec import Execution
from trainables.storage import LocalStorage

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")


@pytest.fixture
def context(tmp_path: Path) -> Iterator[TrialContext]:
    """Of a launch that holds its study, as a worker on this machine would be given it."""
    folder = tmp_path / "study"
    with held(LocalStorage(folder), "launch-1"):
        yield context_of(str(folder), Resources(storage_patience=0), "launch-1")


def with_code(context: TrialContext, **changes: object) -> TrialContext:
    return dataclasses.replace(context, code=dataclasses.replace(context.code, digest="0" * 64, **changes))


def test_a_machine_like_the_launching_one_lacks_nothing(context: TrialContext) -> None:
    assert problems(context) == []
    check(context)
    assert [path.name for path in Path(context.study).iterdir()] == ["lease.json"]


def test_other_code_is_refused_with_both_commits(context: TrialContext) -> None:
    (text,) = problems(with_code(context, commit="deadbeef0123"))
    assert text.startswith(f"has other code: {node.code_version().commit}, the launch has deadbeef0123")


def test_other_versions_are_refused_with_both(context: TrialContext) -> None:
    (text,) = problems(with_code(context, packages=("torch==1.0", "numpy==2.4.6")))
    assert f"has torch=={torch.__version__}" in text
    assert "the launch has torch==1.0, numpy==2.4.6" in text


def test_the_digest_is_of_the_code_that_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trainables").mkdir()
    source = tmp_path / "trainables" / "model.py"
    source.write_text("one = 1\n")
    monkeypatch.setattr(node, "__file__", str(source.parent / "node.py"))
    digests = []
    for text in ("one = 1\n", "one = 2\n", "one = 1\n"):
        source.write_text(text)
        node.code_version.cache_clear()
        digests.append(node.code_version().digest)
    node.code_version.cache_clear()
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]


def test_a_path_that_is_not_there_is_refused_and_not_made(context: TrialContext, tmp_path: Path) -> None:
    elsewhere = dataclasses.replace(context, study=str(tmp_path / "not" / "mounted"))
    (text,) = problems(elsewhere)
    assert "does not see the launch's storage" in text
    assert "found nothing there" in text
    assert not (tmp_path / "not").exists()


def test_another_disk_under_the_same_path_is_refused(context: TrialContext) -> None:
    lease = Path(context.study) / "lease.json"
    lease.write_text(json.dumps(json.loads(lease.read_text()) | {"launch": "last week"}))
    (text,) = problems(context)
    assert "(found last week)" in text
    assert "mount the same storage at the same path on every machine" in text


@NO_GPU
def test_a_gpu_that_torch_does_not_see(context: TrialContext) -> None:
    cuda = dataclasses.replace(context, execution=dataclasses.replace(context.execution, device="cuda"))
    with pytest.raises(NodeError, match=rf"{re.escape(platform.node())}: torch \S+ \(built .*\) sees no GPU"):
        check(cuda)


class TestDrawbacks:
    """What makes trials slower is told, and stops nothing."""

    def test_a_machine_without_a_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        (text,) = drawbacks(Execution(), "lstm", "float32")
        assert text == "no C compiler (cc, gcc, clang) is installed; install one. Until then torch computes, passes in twice the time"
        assert drawbacks(Execution(compiled=False), "lstm", "float32") == []
        assert drawbacks(Execution(device="cuda"), "lstm", "float32") == []
        assert drawbacks(Execution(), "mlp", "bfloat16") == []

    def test_a_processor_without_bfloat16_products(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old = SimpleNamespace(native_bfloat16=lambda: 0)
        monkeypatch.setattr(node, "load_library", lambda: (old, "0123"))
        (text,) = drawbacks(Execution(), "lstm", "bfloat16")
        assert f"its processor ({processor_name()}) has no bfloat16 products" in text
        assert drawbacks(Execution(), "lstm", "float32") == []

    def test_a_dry_run_tells(self, study_file: StudyWriter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("PATH", "")
        assert main([str(study_file()), "--dry-run"]) == 0
        assert "slower than it could be: this machine: no C compiler" in capsys.readouterr().out
        assert main([str(study_file()), "--dry-run", "--address", "auto"]) == 0
        assert "slower than it could be" not in capsys.readouterr().out


class TestPreflight:
    """Of a real Ray with two cores and one GPU that is declared and not there."""

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def _ray() -> Iterator[None]:
        import ray

        os.environ.update(QUIET)
        ray.init(address="local", num_cpus=2, num_gpus=1, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()

    def ask(self, context: TrialContext, *, corpus_bytes: int = 1000, **resources: float) -> str:
        output = io.StringIO()
        study = Study.model_validate(TINY_STUDY | {"resources": resources, "model": {"precision": "bfloat16"}})
        preflight(context, study, corpus_bytes, Console(file=output, width=500))
        return output.getvalue()

    def test_all_is_well(self, context: TrialContext) -> None:
        assert "1 machines, 1 of them for trials: storage, code and memory are in order" in self.ask(context)

    def test_drawbacks_are_told_by_machine_and_stop_nothing(self, context: TrialContext, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cluster, "_inspect", lambda context, network: ([], [f"is slow in {network[1]}"] if network else []))
        told = self.ask(context)
        assert re.search(rf"slower than it could be: {re.escape(platform.node())} \(\S+\): is slow in bfloat16", told)
        assert "storage, code and memory are in order" in told

    def test_problems_are_told_by_machine(self, context: TrialContext) -> None:
        machine = rf"  {re.escape(platform.node())} \(\S+\)"
        memory = rf"{machine}: its object store holds 100 MB, the corpus takes 1,000 MB; .*"
        code = rf"{machine}: has other code: .*, the launch has deadbeef0123; .*"
        with pytest.raises(RequestError, match=f"cannot run the study:\n{memory}\n{code}"):
            self.ask(with_code(context, commit="deadbeef0123"), corpus_bytes=10**9)

    @NO_GPU
    def test_a_declared_gpu_that_torch_does_not_see(self, context: TrialContext) -> None:
        cuda = context_of(context.study, Resources(gpu=0.25), "launch-1")
        with pytest.raises(RequestError, match="sees no GPU"):
            self.ask(cuda, gpu=0.25)

    def test_a_head_without_gpus_is_not_asked_for_them(self, context: TrialContext) -> None:
        cuda = context_of(context.study, Resources(gpu=2), "launch-1")
        assert "No machine can hold a trial (1 CPU and 2 GPU) yet" in self.ask(cuda, gpu=2)

    def test_no_machine_can_hold_a_trial_yet(self, context: TrialContext) -> None:
        assert "No machine can hold a trial (3 CPU) yet" in self.ask(context, cpu=3)
