"""What this machine's processor is and can do, and whether it can compile for itself; without loading torch."""

import os
import platform
import shutil
from functools import cache

FAST_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Processor flags (x86, x86 with matrix tiles, ARM) that mean: bfloat16 products are computed by an instruction."""

COMPILERS = ("cc", "gcc", "clang")


@cache
def processor_name() -> str:
    """The processor's model name."""
    return next((value for name, value in _facts() if name == "model name"), platform.processor() or platform.machine())


@cache
def processor_flags() -> frozenset[str]:
    """The instruction sets that the operating system names; empty where it names none."""
    return frozenset(flag for name, value in _facts() if name in ("flags", "Features") for flag in value.split())


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here, rather than only as exact as it is everywhere."""
    return bool(FAST_BFLOAT16 & processor_flags())


def c_compiler() -> str | None:
    """Path of the C compiler: ``CC``, else the first of `COMPILERS`; None where there is none."""
    return next((found for name in (os.environ.get("CC"), *COMPILERS) if name and (found := shutil.which(name))), None)


def _facts() -> list[tuple[str, str]]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            pairs = [line.partition(":")[::2] for line in file]
    except OSError:
        return []
    return [(name.strip(), value.strip()) for name, value in pairs]
