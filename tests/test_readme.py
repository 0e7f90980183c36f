"""Documents break when they are wrong: the README's commands and study file are run, its links and figures are checked."""

import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sweep.launch import main
from sweep.study import Study

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands() -> list[list[str]]:
    """Every line of the README's unlabelled code blocks that is a command."""
    blocks = re.findall(r"```\n(.*?)```", README, flags=re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if re.match(r"(make|python) ", line)]


def test_there_are_commands() -> None:
    assert ["make", "quickstart"] in commands()
    assert ["make", "test"] in commands()
    assert sum(command[0] == "python" for command in commands()) == 3


def test_make_knows_its_targets() -> None:
    for command in commands():
        if command[0] == "make":
            assert subprocess.run([*command, "--dry-run"], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_ci_calls_the_readmes_test_command() -> None:
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()


def test_the_launch_commands_can_be_planned(imdb_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("IMDB_PATH", str(imdb_path))
    monkeypatch.chdir(ROOT)
    for command in commands():
        if command[:3] == ["python", "-m", "sweep.launch"]:
            assert main([*dict.fromkeys([*command[3:], "--dry-run"])]) == 0
    assert "unique trajectories" in capsys.readouterr().out


def test_ones_own_study_can_be_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(block)
    words = [f"review number {i}" for i in range(1500)]
    pd.DataFrame({"text": words, "label": [i % 3 for i in range(1500)]}).to_csv("reviews.csv", index=False)
    assert main(["mine.yaml", "--dry-run"]) == 0
    assert Study.model_validate(yaml.safe_load(block)).study == "mine"


def test_links_lead_somewhere() -> None:
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert (ROOT / target).exists(), f"{document.name}: {target}"
    for path in re.findall(r"`((?:configs|trainables|sweep|analysis|benchmarks|tests)/[\w./-]*)`", README):
        assert (ROOT / path).exists(), path


def test_the_table_of_studies_is_true() -> None:
    for name, count in re.findall(r"\| `(configs/[\w-]+\.yaml)` \|.*\| (\d+) \|", README):
        assert re.search(rf"Trajectories: {count} \(", (ROOT / name).read_text()), name
