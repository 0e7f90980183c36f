"""Code of one's own, named in a study file as ``package.module:name``: found, loaded, and hashed.

A plug-in is Python that this project does not ship: an acquisition function, a data source, a classifier. It is imported by name, in
the launch and in every worker, so it has to be importable there: from the folder in which the launch was started, or installed.
Pickling the object and sending it along is the tempting other way; what was sent could then not be named, read or hashed, and two
launches of "the same" function might differ without a trace.

A trajectory that a plug-in has a part in carries the plug-in's name and the hash of its source: an edited plug-in is another
trajectory. The source is the module's file and, in turn, every module that it imports from the same folder or package; what is
installed beside it (numpy, say) is not, as it is not for this project's own code.
"""

import ast
import hashlib
import importlib
import importlib.util
import platform
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""What a plug-in is called by."""

T = TypeVar("T")


def is_plugin(name: str) -> bool:
    """Whether a name is that of a plug-in, and not of something built in."""
    return ":" in name


def load(name: str, kind: type[T], what: str) -> T:
    """The object that ``package.module:name`` stands for.

    Args:
        name: of the plug-in.
        kind: what it must be an instance of; for a class, pass `type`.
        what: the kind in words, for the error.

    Raises:
        ImportError: it is not there, its module cannot be imported (whatever that raised), or it is something else.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ImportError(
            f"the plug-in {name} cannot be imported ({type(error).__name__}: {error}); its module must be in the folder that the launch "
            "is started in, or installed, on every machine"
        ) from error
    if not hasattr(module, attribute):
        raise ImportError(f"the plug-in {name} is not there: {module.__file__} defines no {attribute}")
    found = getattr(module, attribute)
    if not isinstance(found, kind):
        raise ImportError(f"the plug-in {name} is no {what}: it is of type {type(found).__name__}")
    return found


@cache
def source_hash(name: str) -> str:
    """The first 16 hex digits of the SHA-256 of a plug-in's source: its file, and those that it imports from the same folder or package.

    Raises:
        ImportError: its module is not there, or has no source file.
    """
    module_name = name.partition(":")[0]
    sha = hashlib.sha256()
    for found, path in sorted(_modules(module_name).items()):
        sha.update(f"{found}\n".encode() + path.read_bytes())
    return sha.hexdigest()[:16]


def named_source(name: str) -> str:
    """Name and `source_hash` of a plug-in, as they enter an identity."""
    return f"{name}@{source_hash(name)}"


def check_version(stated: str) -> None:
    """Refuse to compute with another version of a plug-in than the one that a trajectory is named after.

    Args:
        stated: name and hash, as from `named_source` where the study was planned.

    Raises:
        ImportError: it is not here, or not that version.
    """
    name = stated.partition("@")[0]
    if named_source(name) != stated:
        raise ImportError(
            f"the plug-in {name} on {platform.node()} is another version ({named_source(name)}) than the launch has ({stated}); "
            "bring the same files to every machine"
        )


def _modules(module_name: str) -> dict[str, Path]:
    """The module and, in turn, what it imports from its own surroundings: paths by name."""
    first = _file_of(module_name)
    if first is None:
        raise ImportError(f"the plug-in module {module_name} is not there, or has no source file")
    root = first.parents[module_name.count(".") + (first.name == "__init__.py")]
    found: dict[str, Path] = {}
    parts = module_name.split(".")
    waiting = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]  # a package's __init__ runs before its modules
    while waiting:
        current = waiting.pop()
        path = first if current == module_name else _file_of(current)
        same_package = current.partition(".")[0] == module_name.partition(".")[0]
        if current not in found and path is not None and (same_package or _is_beside(path, root)):
            found[current] = path
            waiting += _imported_by(current, path)
    return found


def _file_of(module_name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError, AttributeError):  # no such parent, or a name that is no module
        return None
    has_source = spec is not None and spec.origin is not None and spec.origin.endswith(".py")
    return Path(spec.origin).resolve() if has_source and spec and spec.origin else None


def _is_beside(path: Path, root: Path) -> bool:
    """Below the plug-in's folder, and neither an installed package nor this project."""
    installed = [Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib")]
    this_project = [Path(__file__).resolve().parents[1] / package for package in ("trainables", "sweep", "analysis")]
    return path.is_relative_to(root) and not any(path.is_relative_to(place) for place in installed + this_project)


def _imported_by(module_name: str, path: Path) -> Iterator[str]:
    """Names of the modules that a file's import statements may load."""
    package = module_name if path.name == "__init__.py" else module_name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
