"""Builds ``lstm.c`` on the machine at hand, once, and loads it; without loading torch.

A binary in the wheel would have to be made for each instruction set; the speed comes from that of the machine, and one file that any C
compiler takes in about a second is simpler. The library lies in the cache under a name that holds all that it depends on, since a
cache on a shared home folder serves machines of several kinds.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from trainables.cache import cache_folder
from trainables.processor import processor_flags, processor_name
from trainables.storage import write_durably

SOURCE = Path(__file__).with_name("lstm.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")
"""No -ffast-math: a NaN must stay one, to be told as an error."""


class NoKernelError(Exception):
    """The compiled LSTM cannot be had on this machine; the message says why, and what to do."""


def c_compiler() -> str:
    """Path of the C compiler: ``CC``, else the first of `COMPILERS`.

    Raises:
        NoKernelError: there is none.
    """
    found = next((path for name in (os.environ.get("CC"), *COMPILERS) if name and (path := shutil.which(name))), None)
    if found is None:
        raise NoKernelError(f"no C compiler ({', '.join(COMPILERS)}) is installed; install one")
    return found


def load_library() -> tuple[ctypes.CDLL, str]:
    """The library, and the hash of all that it was built from: equal hashes compute equal bits.

    Raises:
        NoKernelError: it can be neither found, built nor loaded.
    """
    compiler = c_compiler()
    try:
        made_of = repr((SOURCE.read_bytes(), _output([compiler, "--version"]), FLAGS, processor_name(), sorted(processor_flags())))
        build = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        path = cache_folder() / "kernels" / f"lstm-{build}.so"
        if path.exists():
            try:
                return ctypes.CDLL(str(path)), build
            except OSError:  # what a machine left behind that died while writing
                path.unlink()
        write_durably(path, _compiled(compiler), replace=False)  # what another process was quicker to build may be in use already
        return ctypes.CDLL(str(path)), build
    except OSError as error:
        raise NoKernelError(f"the compiled LSTM cannot be kept or loaded ({error}); set AL_SWEEP_CACHE to another folder") from error


def _compiled(compiler: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "lstm.so"
        _output([compiler, *FLAGS, str(SOURCE), "-o", str(target)])
        return target.read_bytes()


def _output(command: list[str]) -> str:
    """What a compiler says, if all is well."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    except subprocess.CalledProcessError as error:
        words = next((line for line in error.stderr.splitlines() if "error" in line), error.stderr.strip())
        raise NoKernelError(f"the C compiler {command[0]} fails ({words}); install a complete one") from error
    except subprocess.TimeoutExpired as error:
        raise NoKernelError(f"the C compiler {command[0]} does not come to an end; install another, and name it in CC") from error
