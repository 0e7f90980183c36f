"""How this process computes: threads and determinism set, the circumstances that can change the last bits, and memory that ran out."""

import gc
import os
import platform
from collections.abc import Mapping

import numpy as np
import torch

from trainables.errors import ComputationError
from trainables.passes import compiled_kernel
from trainables.processor import processor_name
from trainables.spec import Execution

NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
"""What torch's allocators say when they have no memory, in errors that have no type of their own."""


def make_deterministic(execution: Execution) -> None:
    """Use exactly the threads that were given, and only operations that repeat bit for bit."""
    torch.set_num_threads(execution.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # 8% of a training step
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def circumstances(execution: Execution) -> Mapping[str, object]:
    """What can change the last bits of a result, and where it was computed."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "processor": processor_name(),
        "engine": str(compiled_kernel(execution) or "torch"),
        "device": torch.cuda.get_device_name() if execution.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "scoring_batch": execution.scoring_batch,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the GPU or of the machine, ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def release_memory() -> None:
    """Give back what a failed round held: to the machine, and to the other trials on the GPU."""
    gc.collect()
    torch.cuda.empty_cache()


def out_of_memory(error: BaseException, execution: Execution) -> ComputationError:
    """The error to report when memory ran out and smaller scoring batches did not help."""
    where, share = ("the GPU", "resources.gpu") if execution.device == "cuda" else ("this machine", "resources.cpu")
    first_line = str(error).partition("\n")[0]
    return ComputationError(
        f"out of memory on {where} (of {platform.node()}), at a scoring batch of {execution.scoring_batch} too: raise {share}, so that "
        f"fewer trials share it, or lower resources.scoring_batch, training.batch_size or data.max_tokens ({first_line})"
    )
