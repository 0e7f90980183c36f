"""Where results come from: command, commit, versions, hardware and times of one launch."""

import importlib.metadata
import os
import platform
import secrets
import sys
from datetime import UTC, datetime
from typing import Any

from trainables.node import git

PACKAGES = ("al-sweep", "ray", "torch", "numpy", "pandas", "pyarrow", "pydantic")


def launch_name() -> str:
    """Time and chance: sorts by time and never meets another."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def circumstances(command: list[str]) -> dict[str, Any]:
    """What a launch record says about its beginning."""
    status = git("status", "--porcelain")
    return {
        "command": command,
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "versions": {"python": platform.python_version()} | {name: version_of(name) for name in PACKAGES},
        "hardware": {"host": platform.node(), "system": platform.platform(), "cores": os.cpu_count(), "memory_bytes": _memory_bytes()},
    }


def version_of(package: str) -> str | None:
    """An installed package's version; None if it is not installed as one."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
