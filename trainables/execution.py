"""How this process computes: threads and determinism set, and the circumstances that can change the last bits written down."""

import os
import platform
from collections.abc import Mapping

import numpy as np
import torch

from trainables.spec import Execution


def make_deterministic(execution: Execution) -> None:
    """Use exactly the threads that were given, and only operations that repeat bit for bit."""
    torch.set_num_threads(execution.threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def circumstances(execution: Execution) -> Mapping[str, object]:
    """What can change the last bits of a result, and where it was computed."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "processor": _processor(),
        "device": torch.cuda.get_device_name() if execution.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "scoring_batch": execution.scoring_batch,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's model name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
