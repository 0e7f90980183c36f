"""The reference of the study file is what the schema says: all of it, with a meaning for each field, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from sweep import analysis_plan, data_sections, reference, sections, study
from sweep.fields import AcquisitionName, Positive, Rate, Section
from sweep.sections import Grid, Protocol
from sweep.study import Study
from trainables.acquisition import ACQUISITIONS

PAGE = Path(__file__).parent.parent / "docs" / "study-file.md"


def row(section: str, field: str) -> list[str]:
    """The cells of a field's row, below a section's heading."""
    (block,) = re.findall(rf"\n#+ {re.escape(section)}\n(.*?)(?=\n#|\Z)", reference.page(), flags=re.DOTALL)
    (line,) = [line for line in block.splitlines() if line.startswith(f"| `{field}` |")]
    return [cell.strip() for cell in line.strip("|").split(" | ")][1:]


def test_the_committed_page_is_what_is_generated() -> None:
    assert PAGE.read_text() == reference.page(), "write it again: python -m sweep.reference > docs/study-file.md"


def test_the_command_prints_it_and_needs_neither_torch_nor_ray() -> None:
    program = (
        "import runpy, sys; runpy.run_module('sweep.reference', run_name='__main__');"
        "print({'torch', 'ray', 'pandas'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == reference.page()
    assert done.stderr.strip() == "set()"


def test_no_field_is_left_out() -> None:
    kinds = {kind for module in (study, sections, data_sections, analysis_plan) for kind in vars(module).values() if isinstance(kind, type)}
    own = [kind for kind in kinds if issubclass(kind, Section) and kind is not Section]
    documented = re.findall(r"^\| `(\w+)` \| .* \| .* \| \S.* \|$", reference.page(), flags=re.MULTILINE)
    fields = [name for section in own for name in section.model_fields]
    assert len(fields) > 50
    assert sorted(documented) == sorted([*fields, *ACQUISITIONS])


@pytest.mark.parametrize(
    ("section", "field", "cells"),
    [
        ("data (imdb)", "source", ["`imdb`", "required", "Which of the sources it is."]),
        ("data (csv)", "test_fraction", ["number, above 0, below 1", "`0.2`"]),
        (
            "model",
            "hidden_dim",
            [
                "whole number, 1 or more",
                "`64`",
                "H, width of what the output layer reads: the LSTM's state, or the hidden layer of the MLP.",
            ],
        ),
        (
            "model.site_dropout",
            "word",
            ["number, 0 or more, below 1 or `null`", "`null`", "Rate of the word-type masks; null: `dropout_rate`."],
        ),
        ("training", "warm_start", ["`true` or `false`", "`false`"]),
        (
            "grid",
            "mc_passes",
            ["a list without repetition; a single value stands for a list of one; each: whole number, 1 or more", "`[10]`"],
        ),
        ("analysis.q1", "metric", ["`accuracy_deterministic` or `accuracy_mc`", '`"accuracy_deterministic"`']),
        ("analysis.q1.arm", "acquisition", ["name of an acquisition function, or of a plug-in as `package.module:name`", "required"]),
        ("analysis.q2", "delta", ["number, above 0, below 1", "`0.0025`"]),
    ],
)
def test_rows_by_hand(section: str, field: str, cells: list[str]) -> None:
    assert row(section, field)[: len(cells)] == cells


def test_the_specs_words_come_before_the_sections_own() -> None:
    meaning = row("training", "prior_length_scale")[2]
    assert meaning.startswith(
        r"l of the prior term l^2 / (2 N (1-p)) \|\|W\|\|^2 (Gal & Ghahramani 2016): the one tuned constant. Measured"
    )


class Novelty(Section):
    """What a later field may look like."""

    prices: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Of machines."""
    names: tuple[AcquisitionName, ...] = ()
    """Of functions."""
    one: Literal["a"] | Rate | None = None
    """One of many."""
    inner: Protocol | Grid | None = None
    """A section of two kinds."""


class Nameless(Section):
    """A section with a field that nobody explained."""

    mute: Positive = 1


def test_what_is_added_is_picked_up() -> None:
    text = "\n".join(reference.of_section("novelty", Novelty))
    assert "| `prices` | mapping of names to: number, above 0 | `{}` | Of machines. |" in text
    assert (
        "| `names` | list, each: name of an acquisition function, or of a plug-in as `package.module:name` | `[]` | Of functions. |" in text
    )
    assert "| `one` | `a`, number, 0 or more, below 1 or `null` | `null` | One of many. |" in text
    assert text.count("### novelty.inner\n") == 2
    with pytest.raises(ValueError, match=r"Nameless.mute has no docstring; write what the field means below it"):
        list(reference.of_section("nameless", Nameless))


def test_the_defaults_are_those_of_the_schema() -> None:
    for name, section in (("model", sections.Model), ("training", sections.Training), ("resources", sections.Resources)):
        for field, value in section().model_dump(mode="json").items():
            if not isinstance(value, dict):
                printed = row(name, field)[1].strip("`")
                assert Study.model_fields[name].annotation is section
                assert section.model_validate_json(f'{{"{field}": {printed}}}') == section(), (field, value)
