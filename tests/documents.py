"""The pages of documentation as a reader meets them: blocks of code with their places, commands, links.

What a block is, its fence says:

- ``python``: run, in order of the page, in one namespace, in a folder that has ``configs``, ``docs`` and ``results/quickstart``. A
  ``text`` block right behind it is what it prints.
- ``yaml`` or ``yml``: a study file if it has a ``study``; else some sections of one, which are put over the quickstart's.
- ``bash``, ``sh``, ``console``, or nothing where the first line is a command: shell, whose syntax and whose own commands are checked.

A comment above a fence, which a reader does not see, says what cannot be so:

- ``<!-- not run: REASON -->``: the block is left alone, and listed with its reason.
- ``<!-- file: PATH -->``: the block is that file, to the letter (and is run as any other).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

BLOCK = re.compile(
    r"""
    ^(?:<!--\ (?P<mark>[a-z\ ]+):\ (?P<detail>[^>]*?)\ -->\n+)?  # the comment above it
    ```(?P<language>\w*)\n(?P<text>.*?)^```$
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
SHELL = ("bash", "sh", "console")
COMMAND = re.compile(r"[A-Za-z_][\w-]*(=|\s|$)")
PYTHON_COMMAND = re.compile(r"\bpython -m (?P<module>[\w.]+)(?P<arguments>(?:[ \t]+[^\s`\"'|;&<>]+)*)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """Of its first line of code."""
    language: str
    text: str
    mark: str | None
    """What the comment above it says it is: ``not run`` or ``file``."""
    detail: str
    output: str | None
    """The text block right behind it."""

    def __str__(self) -> str:
        """Its place."""
        return f"{name(self.page)}:{self.line}"

    @property
    def is_shell(self) -> bool:
        """Whether it is for a shell."""
        return self.language in SHELL or (not self.language and bool(COMMAND.match(self.text)))

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, continued ones joined; of a console block those behind a ``$``."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.removeprefix("$ ") for line in lines if line.strip() and (self.language != "console" or line.startswith("$ "))]


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        """Its fenced blocks, in order."""
        matches = list(BLOCK.finditer(self.text))
        return [self._block(match, following) for match, following in zip_longest(matches, matches[1:])]

    def _block(self, match: re.Match[str], following: re.Match[str] | None) -> Block:
        line = self.text.count("\n", 0, match.start("text")) + 1
        is_output = following is not None and following["language"] == "text" and not self.text[match.end() : following.start()].strip()
        output = following["text"] if following and is_output else None
        return Block(self.path, line, match["language"], match["text"], match["mark"], match["detail"] or "", output)

    @property
    def links(self) -> list[str]:
        """Where its relative links lead."""
        prose = BLOCK.sub("", self.text)
        return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", target)]

    @property
    def anchors(self) -> set[str]:
        """What its headings are called in links, as GitHub makes it of them."""
        headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", self.text), flags=re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @property
    def paths(self) -> set[str]:
        """Files of the repository that it names."""
        return set(re.findall(r"`((?:configs|trainables|sweep|analysis|benchmarks|tests|docs)/[\w./-]+)`", self.text))

    def python_commands(self) -> Iterator[tuple[str, list[str]]]:
        """Every ``python -m MODULE ...`` of the page, in blocks and in prose: the module and what follows it."""
        for match in PYTHON_COMMAND.finditer(self.text.replace("\\\n", " ")):
            words = match["arguments"].replace("[", " ").replace("]", " ").split()
            yield match["module"], [word for word in words if word != "..."]


def name(path: Path) -> str:
    """A page's path in the repository, or its name elsewhere."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [block for path in PAGES for block in Page(path).blocks]
