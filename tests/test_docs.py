"""Documents break when they are wrong: every example of every page is run or checked as it stands there. See tests/documents.py."""

import argparse
import importlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sweep.launch import main
from sweep.study import Study
from sweep.study_file import load_study
from tests.documents import PAGES, ROOT, Block, Page, all_blocks, name
from tests.planted import example
from tests.reporting import planted_study
from trainables.errors import RequestError

QUICKSTART = ROOT / "configs" / "quickstart.yaml"
OURS = ("sweep", "analysis", "benchmarks")
BLOCKS = all_blocks()


def chosen(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages and block.mark != "not run"]


def by_page(parameter: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(parameter, PAGES, ids=name)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has: the checkout, and the quickstart's results."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in ("configs", "docs"):
        (folder / entry).symlink_to(ROOT / entry)
    planted_study(folder / "results" / "quickstart")
    return folder


def run_page(blocks: Sequence[Block], capsys: pytest.CaptureFixture[str]) -> None:
    """Run a page's Python blocks in one namespace; what they print is what stands behind them."""
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
        capsys.readouterr()
        exec(code, namespace)
        if block.output is not None:
            printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
            assert printed.strip() == block.output.strip(), f"{block} prints something else"


@by_page("page")
def test_every_fence_is_seen(page: Path) -> None:
    """A fence that is indented, or never closed, would be no block, and its example checked by nobody."""
    fences = re.findall(r"^\s*(?:```|~~~)", page.read_text(), flags=re.MULTILINE)
    assert len(fences) == 2 * len(Page(page).blocks)


@by_page("page")
def test_python_runs_and_prints_what_is_shown(
    page: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(checkout)
    run_page([block for block in chosen("python") if block.page == page], capsys)


def check_yaml(block: Block, folder: Path) -> Study:
    """A study file as it stands; or some sections of one, put over the quickstart's."""
    content = yaml.safe_load(block.text)
    if "study" not in content:
        base = yaml.safe_load(QUICKSTART.read_text())
        for section, value in content.items():
            replaces = not isinstance(value, dict) or "source" in value
            content[section] = value if replaces else base.get(section, {}) | value
        content = base | content
    path = folder / "example.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_study(path)


@pytest.mark.parametrize("block", chosen("yaml", "yml"), ids=str)
def test_yaml_is_a_study_file_or_a_part_of_one(block: Block, tmp_path: Path) -> None:
    assert check_yaml(block, tmp_path).study


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.is_shell and block.mark != "not run"], ids=str)
def test_shell_is_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input="\n".join(block.commands), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class ParsedError(Exception):
    """The command's own parser has understood its arguments."""


def parse(module: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """What the command's own parser makes of its arguments; the command itself is not carried out."""
    real = argparse.ArgumentParser.parse_args

    def parse_only(self: argparse.ArgumentParser, given: Sequence[str] | None = None, namespace: None = None) -> None:
        raise ParsedError(real(self, given, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(ParsedError) as found:
        importlib.import_module(module).main()
    options: argparse.Namespace = found.value.args[0]
    return options


def check_command(module: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's options exist, and so do its study file and its overrides; without a parser there are no arguments.

    A command without arguments may be a mere name, so that what it has to be given need not be there.
    """
    if module.split(".")[0] not in OURS:
        for path in re.findall(r"^(?:tests|docs|configs)/\S+", "\n".join(arguments), flags=re.MULTILINE):
            assert (ROOT / path).exists(), path
        return
    if not hasattr(importlib.import_module(module), "main"):
        assert not arguments, f"python -m {module} takes no arguments"
        return
    if not arguments:
        with pytest.raises(SystemExit, match="0"):
            parse(module, ["--help"], monkeypatch)
        return
    options = parse(module, arguments, monkeypatch)
    if module == "sweep.launch":
        config = Path(options.config or QUICKSTART)
        if config.parts[0] == "configs":
            assert load_study(ROOT / config, [item for item in options.set if not item[0].isupper()])


@by_page("page")
def test_commands_exist_with_their_options(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, arguments in Page(page).python_commands():
        with monkeypatch.context() as patch:
            check_command(module, arguments, patch)


@by_page("page")
def test_make_knows_its_targets(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    blocks = [command for block in Page(page).blocks if block.is_shell for command in block.commands]
    named = re.findall(r"^make ([\w-]+)", "\n".join(blocks), flags=re.MULTILINE) + re.findall(r"`make ([\w-]+)", Page(page).text)
    for target in named:
        assert f"\n{target}:" in makefile, target


@by_page("page")
def test_links_lead_somewhere(page: Path) -> None:
    for link in Page(page).links:
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in Page(path).anchors, link


@by_page("page")
def test_files_that_are_named_exist(page: Path) -> None:
    for path in Page(page).paths:
        assert (ROOT / path).exists(), path


def test_the_example_table_is_made_up_as_said() -> None:
    pd.testing.assert_frame_equal(pd.read_csv(ROOT / "docs" / "examples" / "curves.csv"), example(), check_dtype=False)


def test_every_page_is_in_the_index() -> None:
    listed = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in Page(ROOT / "docs" / "README.md").links}
    assert {path for path in PAGES if path.parent.name == "docs" and path.name != "README.md"} <= listed


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.mark], ids=str)
def test_marks(block: Block) -> None:
    """A marked block is the file it says it is, or is listed, as skipped, with the reason why it is not run."""
    if block.mark == "not run":
        assert block.detail
        pytest.skip(f"{block} is not run: {block.detail}")
    assert block.mark == "file", f"{block}: unknown mark {block.mark!r}"
    assert block.text == (ROOT / block.detail).read_text(), f"{block} is not {block.detail}"


class TestTheReadme:
    """Its commands are carried out as far as they can be without writing, and its table of studies is counted."""

    PAGE = Page(ROOT / "README.md")

    def test_it_has_its_two_commands(self) -> None:
        commands = [command for block in self.PAGE.blocks for command in block.commands]
        assert {"make quickstart", "make test"} <= set(commands)
        assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()

    def test_the_launch_commands_can_be_planned(
        self, imdb_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("IMDB_PATH", str(imdb_path))
        monkeypatch.chdir(ROOT)
        for module, arguments in self.PAGE.python_commands():
            if module == "sweep.launch" and arguments[:1] and arguments[0].startswith("configs/") and "--address" not in arguments:
                assert main([*dict.fromkeys([*arguments, "--dry-run"])]) == 0
        assert "unique trajectories" in capsys.readouterr().out

    def test_ones_own_study_can_be_planned(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (block,) = [block for block in self.PAGE.blocks if block.language == "yaml"]
        monkeypatch.chdir(tmp_path)
        Path("mine.yaml").write_text(block.text)
        words = [f"review number {i}" for i in range(1500)]
        pd.DataFrame({"text": words, "label": [i % 3 for i in range(1500)]}).to_csv("reviews.csv", index=False)
        assert main(["mine.yaml", "--dry-run"]) == 0

    def test_the_table_of_studies_is_true(self) -> None:
        rows = re.findall(r"\| `(configs/[\w-]+\.yaml)` \|.*\| (\d+) \|", self.PAGE.text)
        assert len(rows) == 3
        for path, count in rows:
            assert re.search(rf"Trajectories: {count} \(", (ROOT / path).read_text()), path


class TestWrongPages:
    """What these tests are there to find, in a page made for it."""

    def page(self, tmp_path: Path, text: str) -> Page:
        (tmp_path / "page.md").write_text(textwrap.dedent(text))
        return Page(tmp_path / "page.md")

    def test_output_that_is_not_what_is_printed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        page = self.page(tmp_path, "```python\nx = 2\n```\n\n```python\nprint(x)\n```\n\n```text\n3\n```\n")
        with pytest.raises(AssertionError, match=r"page\.md:6 prints something else"):
            run_page([block for block in page.blocks if block.language == "python"], capsys)

    def test_python_that_fails_names_its_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        page = self.page(tmp_path, "text\n\n```python\n1 / 0\n```\n")
        with pytest.raises(ZeroDivisionError) as found:
            run_page(page.blocks, capsys)
        assert found.traceback[-1].lineno == 3

    @pytest.mark.parametrize("text", ["grid: {sedes: 3}", "study: mine\ngrid: {seeds: 3}", "data: {source: csv}"])
    def test_yaml_that_is_no_study(self, tmp_path: Path, text: str) -> None:
        (block,) = self.page(tmp_path, f"```yaml\n{text}\n```\n").blocks
        with pytest.raises(RequestError):
            check_yaml(block, tmp_path)

    @pytest.mark.parametrize("command", ["sweep.launch --dryrun", "analysis.report a b", "sweep.reference --out x", "sweep.status_of x"])
    def test_commands_that_do_not_exist(self, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
        ((module, arguments),) = self.page(tmp_path, f"Give `python -m {command}`.\n").python_commands()
        with pytest.raises((SystemExit, AssertionError, ImportError)):
            check_command(module, arguments, monkeypatch)

    def test_a_study_file_or_an_override_that_does_not_exist(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for arguments in (["configs/nothing.yaml"], ["configs/quickstart.yaml", "--set", "grid.sedes=3"]):
            with monkeypatch.context() as patch, pytest.raises(RequestError):
                check_command("sweep.launch", arguments, patch)

    def test_what_the_parts_of_a_page_are(self, tmp_path: Path) -> None:
        page = self.page(
            tmp_path,
            """\
            # One & two
            See [there](other.md#a-b) and [out](https://example.org), `docs/nothing.md`.

            <!-- not run: needs AWS -->

            ```python
            import nothing
            ```

            ```
            python -m sweep.launch a.yaml \\
              --set grid.seeds=1
            ```

            ```
            results/STUDY/
            ```
            """,
        )
        python, shell, tree = page.blocks
        assert (python.mark, python.detail, python.line) == ("not run", "needs AWS", 7)
        assert (shell.is_shell, tree.is_shell, python.is_shell) == (True, False, False)
        assert list(page.python_commands()) == [("sweep.launch", ["a.yaml", "--set", "grid.seeds=1"])]
        assert (page.links, page.paths, page.anchors) == (["other.md#a-b"], {"docs/nothing.md"}, {"one--two"})
