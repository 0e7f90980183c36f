"""What this machine's processor is and can do, without loading torch."""

import platform
from functools import cache

FAST_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
"""Processor flags that mean: bfloat16 products are computed by an instruction that torch and the kernel use."""


@cache
def processor_name() -> str:
    """The processor's model name."""
    return next((value for name, value in _facts() if name == "model name"), platform.processor() or platform.machine())


@cache
def processor_flags() -> frozenset[str]:
    """The instruction sets that the operating system names; empty where it names none."""
    return frozenset(flag for name, value in _facts() if name in ("flags", "Features") for flag in value.split())


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 products are faster than float32 ones here."""
    return bool(FAST_BFLOAT16 & processor_flags())


def _facts() -> list[tuple[str, str]]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            pairs = [line.partition(":")[::2] for line in file]
    except OSError:
        return []
    return [(name.strip(), value.strip()) for name, value in pairs]
