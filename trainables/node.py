"""What a machine needs in order to run trials of a launch, what of it this machine lacks, and what makes it slower than it could be.

The same questions are asked twice: of every machine of a cluster before the first trial, so that a mistake costs seconds and is told
by name; and by each new worker process, since machines join a running cluster later, and one that has other code, or writes to
another disk, must not be let near a ledger.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trainables.build import NoKernelError, load_library
from trainables.errors import NodeError
from trainables.patience import open_patiently
from trainables.plugins import check_version, load
from trainables.processor import processor_name
from trainables.spec import Execution, Precision
from trainables.storage import Storage

LEASE_FILE = "lease.json"
"""In the study's folder, while a launch runs the study: who that is. Whoever reads the launch's own name there sees its storage."""

TRAJECTORIES = "trajectories"
"""In the study's folder: a ledger each."""

EXACT = ("torch", "numpy")
"""Packages whose version can change the last bits of a result."""


@dataclass(frozen=True)
class CodeVersion:
    """Which code computes here."""

    digest: str
    """SHA-256 over the sources of ``trainables`` and the versions of `EXACT`: equal digests compute equal results."""
    commit: str
    """For people: the commit, ``+ changes`` if the checkout has any; where there is no checkout, the installed version."""
    packages: tuple[str, ...]
    """The versions of `EXACT`, as ``name==version``."""


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a launch share."""

    study: str
    """The study's folder: an absolute path or a URI."""
    launch: str
    """Name of the launch."""
    execution: Execution
    code: CodeVersion
    """Of the launching process."""
    patience_seconds: float
    """How long trouble of the storage is waited out."""
    plugins: tuple[str, ...] = ()
    """The plug-ins that trials use, as ``package.module:name@hash of its source``."""


@cache
def code_version() -> CodeVersion:
    """Of the code that this process runs."""
    return CodeVersion(_digest(), _commit(), _packages())


def _digest() -> str:
    package = Path(__file__).parent
    sha = hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.c")]):
        sha.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    sha.update("\n".join(_packages()).encode())
    return sha.hexdigest()


def _packages() -> tuple[str, ...]:
    return tuple(f"{name}=={importlib.metadata.version(name)}" for name in EXACT)


def _commit() -> str:
    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    if commit:
        return commit[:12] + (" + changes" if changes else "")
    try:
        return f"al-sweep {importlib.metadata.version('al-sweep')}, no checkout"
    except importlib.metadata.PackageNotFoundError:
        return "a copy without its history"


def git(*arguments: str) -> str | None:
    """Output of git on this code's checkout; None where the code is not one."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def problems(context: TrialContext) -> list[str]:
    """Why this machine cannot run trials of a launch, each with its remedy; empty if it can."""
    return [*_code_problems(context), *_storage_problems(context), *_device_problems(context)]


def plugin_problems(context: TrialContext) -> list[str]:
    """Which plug-ins of a launch this machine cannot load.

    It is asked before the first trial only: later, a plug-in that is missing fails its own trajectories, by name and round, and no others.
    """
    return [str(error) for stated in context.plugins for error in _plugin_errors(stated)]


def check(context: TrialContext) -> None:
    """Raise NodeError, with the machine's name, if it cannot run trials of the launch."""
    found = problems(context)
    if found:
        raise NodeError(f"{platform.node()}: " + "; ".join(found))


def drawbacks(execution: Execution, classifier: str, precision: Precision) -> list[str]:
    """Why trials on this machine's CPU run slower than they could, each with its remedy; what they compute is the same to rounding."""
    if execution.device != "cpu" or not execution.compiled or classifier != "lstm":
        return []
    try:
        library, _ = load_library()
    except NoKernelError as error:
        return [f"{error}. Until then torch computes, passes in twice the time"]
    if precision == "bfloat16" and not library.native_bfloat16():
        return [f"its processor ({processor_name()}) has no bfloat16 products: model.precision = bfloat16 is no faster there than float32"]
    return []


def _code_problems(context: TrialContext) -> list[str]:
    there = context.code
    if _digest() == there.digest:  # each worker process asks; git, which only people need, would cost each of them two processes
        return []
    here = code_version()
    if here.packages != there.packages:
        return [f"has {', '.join(here.packages)}, the launch has {', '.join(there.packages)}; install constraints.txt on both"]
    return [f"has other code: {here.commit}, the launch has {there.commit}; bring the launch's code there (ray up does)"]


def _plugin_errors(stated: str) -> list[ImportError]:
    try:
        check_version(stated)
        load(stated.partition("@")[0], object, "object")
    except ImportError as error:
        return [error]
    return []


def _storage_problems(context: TrialContext) -> list[str]:
    try:
        storage = open_patiently(context.study, context.patience_seconds, must_exist=True)
        seen = _launch_in(storage)
        if seen != context.launch:
            return [
                f"does not see the launch's storage at {context.study} (found {seen or 'nothing there'}); mount the same "
                "storage at the same path on every machine, or give an s3:// or gs:// URI as --storage"
            ]
        marker = f".seen-by-{platform.node()}-{os.getpid()}"
        storage.write(marker, b"written")
        storage.remove(marker)
    except (OSError, ValueError) as error:
        return [f"cannot use the storage {context.study}: {error}; it must be readable and writable there"]
    return []


def _launch_in(storage: Storage) -> str | None:
    """The launch that holds the study, as this machine sees it."""
    try:
        content = json.loads(storage.read(LEASE_FILE))
    except (FileNotFoundError, ValueError):
        return None
    return str(content.get("launch")) if isinstance(content, dict) else None


def _device_problems(context: TrialContext) -> list[str]:
    if context.execution.device != "cuda":
        return []
    import torch

    if torch.cuda.is_available():
        return []
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return [f"torch {torch.__version__} ({built}) sees no GPU; see nvidia-smi there, or set resources.gpu=0"]
