"""The command ``python -m sweep.reference``: the reference of the study file, printed as Markdown from the schema itself.

A page that is written by hand tells last month's defaults. Here every field of every section is found by walking the classes that
read a study file, so nothing can be left out, and what a field means is the docstring that stands under it in the code: one place to
write it, where whoever changes the field sees it. A field without one is an error. What a section only passes on to
`TrajectorySpec` is explained there, and printed from there.

Neither torch nor Ray is needed; ``docs/study-file.md`` is this command's output, which a test compares.
"""

import ast
import inspect
import itertools
import json
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from sweep.study import SCIENCE_SECTIONS, Study
from trainables.acquisition import ACQUISITIONS
from trainables.spec import TrajectorySpec

HEAD = f"""# The study file

<!-- Written by `python -m sweep.reference > docs/study-file.md`; change the docstrings in the code, not this page. -->

Every field of a study file: its type and range, its default, its meaning. A field without a default has to be given. An unknown key, a
wrong type or a value out of its range is told with its place, the rule and a remedy, all at once, before anything is written. A field
can be overridden for one launch: `--set SECTION.FIELD=VALUE`, as in `--set grid.seeds=20`. YAML reads `1e-3` as text: write `1.0e-3`.

The sections {", ".join(f"`{name}`" for name in SCIENCE_SECTIONS)} are a study's science: under the same name they cannot be changed
(the data count by their content, not by their path). The others can be, and only what is new is computed.
"""

WORDS: dict[object, str] = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Any: "anything"}

WORDS_OF_NEEDS = {"features": "features", "labelled": "the labelled set", "keys": "random keys", "rng": "random draws"}

BOUNDS = {"ge": "{} or more", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *of_section("", Study), *_acquisitions()])


def of_section(path: str, section: type[BaseModel]) -> Iterator[str]:
    """A section's heading, its table, and the sections below it."""
    if path:
        yield f"{'#' * min(4, path.count('.') + 2)} {path}\n"
        yield _prose(inspect.cleandoc(section.__doc__ or "")) + "\n"
    yield "| field | type and range | default | meaning |"
    yield "|---|---|---|---|"
    meanings = _docstrings(section)
    hints = typing.get_type_hints(section, include_extras=True)
    for name, field in section.model_fields.items():
        meaning = _meaning(section, name, meanings)
        yield f"| `{name}` | {_cell(describe(hints[name]))} | {_cell(_default(field))} | {_cell(meaning)} |"
    yield ""
    for name in section.model_fields:
        for suffix, below in _sections_in(hints[name]):
            yield from of_section(f"{path}.{name}{suffix}".lstrip("."), below)


def _sections_in(hint: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections that a field may hold, with what tells them apart where there are several."""
    found = list(dict.fromkeys(kind for kind in _leaves(hint) if isinstance(kind, type) and issubclass(kind, BaseModel)))
    tags = [_tag(kind) for kind in found]
    for kind, tag in zip(found, tags, strict=True):
        yield (f" ({tag or 'plug-in'})" if len(found) > 1 and any(tags) else ""), kind


def _tag(section: type[BaseModel]) -> str | None:
    """The one word that a section's first field must be, where it is told by that; what has no such word is a plug-in's."""
    hints = [field.annotation for field in section.model_fields.values()]
    return next((str(typing.get_args(hint)[0]) for hint in hints if typing.get_origin(hint) is Literal), None)


def _leaves(hint: Any) -> Iterator[Any]:
    """The plain types that an annotation is made of."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        yield from _leaves(arguments[0])
    elif not arguments or typing.get_origin(hint) is Literal:
        yield hint
    else:
        for argument in arguments:
            yield from _leaves(argument)


def describe(hint: Any) -> str:
    """A type annotation in words: its kind, its range, and the short forms that its validators read."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin is Literal:
        return _either([f"`{value}`" for value in arguments])
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin in (tuple, list):
        return f"list, each: {describe(arguments[0])}"
    if origin in (dict, Mapping):
        return f"mapping of names to: {describe(arguments[1])}"
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return "section"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _annotated(kind: Any, metadata: tuple[Any, ...]) -> str:
    """A kind with what is said about it; a validator that reads short forms says in its docstring what may be written."""
    readers = [item.func for item in metadata if isinstance(item, BeforeValidator)]
    if readers:
        forms = _first_sentence(readers[-1])
        items = f"; each: {describe(typing.get_args(kind)[0])}" if typing.get_origin(kind) in (tuple, list) else ""
        return forms[0].lower() + forms[1:] + items
    bounds: list[str] = []
    for item in metadata:
        for rule in item.metadata if isinstance(item, FieldInfo) else [item]:
            bounds += [words.format(f"{getattr(rule, key):,}") for key, words in BOUNDS.items() if hasattr(rule, key)]
            pattern = getattr(rule, "pattern", None)
            bounds += [f"matching `{pattern}`"] if pattern else []
    return ", ".join([describe(kind), *bounds])


def _union(members: tuple[Any, ...]) -> str:
    """Alternatives; null comes last."""
    kinds = dict.fromkeys(describe(member) for member in members if member is not type(None))
    nullable = ["`null`"] if type(None) in members else []
    return _either([*kinds, *nullable])


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _first_sentence(function: Callable[..., object]) -> str:
    """What a validator reads."""
    text = " ".join(inspect.cleandoc(function.__doc__ or "").split("\n\n")[0].split())
    if not text:
        raise ValueError(f"{function.__module__}.{function.__qualname__} reads a field of the study file and has no docstring")
    return text.rstrip(".")


def _default(field: FieldInfo) -> str:
    """As it would be written in the file; a section's own defaults stand in its own table."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "as below"
    return f"`{json.dumps(value)}`"


def _meaning(section: type[BaseModel], name: str, meanings: Mapping[str, str]) -> str:
    """A field's docstring; first, where the section refers to `TrajectorySpec`, what it says there."""
    spec, own = _docstrings(TrajectorySpec), meanings.get(name, "")
    refers = TrajectorySpec.__name__ in (section.__doc__ or "")
    texts = [spec.get(name, spec.get(f"{name}_dropout", "")) if refers else "", own]
    if not any(texts):
        raise ValueError(f"{section.__module__}.{section.__qualname__}.{name} has no docstring; write what the field means below it")
    return " ".join(filter(None, texts))


def _docstrings(kind: type) -> dict[str, str]:
    """The strings that stand under the fields of a class and of those it is made from."""
    found: dict[str, str] = {}
    for ancestor in reversed([c for c in kind.__mro__ if c not in (BaseModel, object)]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(ancestor))).body
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for pair in itertools.pairwise(statements):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def _acquisitions() -> Iterator[str]:
    """The registry: what each function's score reads, and what it is."""
    yield "## Acquisition functions\n"
    yield "What `grid.acquisition` may name. `mc` scores read T thinned networks, and need T of at least the number given; the others do"
    yield "not depend on T, and are computed once for all of it.\n"
    yield "| name | reads | fewest T | score |"
    yield "|---|---|---|---|"
    for name, function in ACQUISITIONS.items():
        reads = {"none": "no prediction", "deterministic": "the network with dropout off", "mc": "`mc`"}[function.prediction]
        reads = ", ".join([reads, *(WORDS_OF_NEEDS[need] for need in function.needs)])
        fewest = str(function.min_passes) if function.prediction == "mc" else ""
        yield f"| `{name}` | {reads} | {fewest} | {_cell(_first_sentence(function.score))} |"
    yield ""


def _prose(text: str) -> str:
    """A docstring as Markdown."""
    return re.sub(r"``(.+?)``", r"`\1`", text)


def _cell(text: str) -> str:
    return _prose(text).replace("|", r"\|")


if __name__ == "__main__":
    print(page(), end="")
