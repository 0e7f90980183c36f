"""The architecture as a test: data and imports go one way, heavy packages stay in their rooms, every field has a reader."""

import ast
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from sweep import analysis_plan, data_sections, sections, study
from trainables.spec import Execution, TrajectorySpec

ROOT = Path(__file__).parent.parent
PACKAGES = ("trainables", "sweep", "analysis")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_below_imports_above(path: Path) -> None:
    level = PACKAGES.index(path.relative_to(ROOT).parts[0])
    above = {name for name in imports(path) if name.split(".")[0] in PACKAGES[level + 1 :]}
    assert not above


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_who_may_know_ray_and_torch(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    roots = {module.split(".")[0] for module in imports(path)}
    if name not in ("sweep/cluster.py", "sweep/runner.py", "sweep/tracker_callbacks.py", "trainables/tune_trainable.py"):
        assert "ray" not in roots
    if not name.startswith("trainables/"):
        assert "torch" not in roots
    if name != "sweep/tracker_callbacks.py":
        assert not roots & {"mlflow", "wandb", "tensorboardX"}


@pytest.mark.parametrize(
    "module",
    [
        "analysis.report",
        "sweep.launch",
        "sweep.status",
        "trainables.spec",
        "trainables.ledger",
        "trainables.storage",
        "trainables.acquisition",
    ],
)
def test_what_starts_fast_loads_neither_torch_nor_ray(module: str) -> None:
    program = f"import sys, {module}; print([name for name in ('torch', 'ray') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_planning_and_status_load_no_tables() -> None:
    """Pandas is half of what a dry run would import, and only reviews in tables need it."""
    program = "import sys, sweep.launch, sweep.status; print('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "False"


def reads() -> set[str]:
    """Every attribute that the packages read, but for the declarations themselves."""
    found: set[str] = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
    return found


def test_every_field_has_a_reader() -> None:
    """An option that nothing reads would be a lie: study fields are read by name, or travel by name into a spec that is read."""
    spec_fields = {f.name for f in dataclasses.fields(TrajectorySpec)}
    read = reads() | {"word", "input", "recurrent", "output"}  # by site, in TrajectorySpec.site_rate
    sites = {f"{site}_dropout" for site in ("word", "input", "recurrent", "output")}
    assert spec_fields - sites <= read
    assert {f.name for f in dataclasses.fields(Execution)} <= read
    kinds = {kind for module in (study, sections, data_sections, analysis_plan) for kind in vars(module).values() if isinstance(kind, type)}
    fields = {name for section in kinds if issubclass(section, BaseModel) for name in section.model_fields}
    assert len(fields) > 30
    assert fields <= read | spec_fields


def test_functions_stay_short() -> None:
    """The tail of long functions is what makes code hard to read: none over 60 lines, nine in ten under 30."""
    lengths = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    )
    assert lengths[-1] <= 60
    assert lengths[len(lengths) // 2] <= 12
    assert lengths[int(len(lengths) * 0.9)] < 30
