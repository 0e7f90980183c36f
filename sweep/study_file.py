"""Read a study file: YAML and ``--set`` overrides to a `Study`, with every error told at once.

Each error names the file, the dotted path, the value, the rule and, where there is one, the remedy.
"""

import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sweep.analysis_plan import AnalysisPlan
from sweep.data_sections import SOURCES, PluginData
from sweep.fields import did_you_mean
from sweep.study import Study
from trainables.errors import RequestError


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study file and apply ``key=value`` overrides.

    Raises:
        RequestError: everything that is wrong with the file and the overrides, a line each.
    """
    raw = _read_yaml(path)
    overridden = [_override(raw, override) for override in overrides]
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(path, raw, overridden, dict(detail)) for detail in error.errors()]
        raise RequestError("\n".join(lines)) from error


def _read_yaml(path: Path) -> dict[str, Any]:
    """The file's sections, as they stand there."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise RequestError(
            f"{path}: cannot be read ({error.strerror}); give the path of a study file, or the name of a shipped one (see README)"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise RequestError(f"{path}: a study file is a mapping of sections (study, data, protocol, grid, ...)")
    return raw


class _PlanFile(BaseModel):
    """Of a file that may be a whole study file, the analysis section."""

    analysis: AnalysisPlan


def load_analysis_plan(path: Path, declared: AnalysisPlan) -> AnalysisPlan:
    """The ``analysis`` section of a YAML file, which may be a study file; where it names no arm for Q1, the declared one stays.

    Raises:
        RequestError: everything that is wrong with it, a line each.
    """
    raw = _read_yaml(path)
    try:
        plan = _PlanFile.model_validate(raw).analysis
    except ValidationError as error:
        raise RequestError("\n".join(_explain(path, raw, [], dict(detail)) for detail in error.errors())) from error
    return plan if plan.q1.arm else plan.model_copy(update={"q1": plan.q1.model_copy(update={"arm": declared.q1.arm})})


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice, where the standard loader keeps the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        own = [pair for pair in node.value if pair[0].tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key, _ in own]
        for (key_node, _), key in zip(own, keys, strict=True):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given more than once", key_node.start_mark)
        return super().construct_mapping(node, deep)


def _override(raw: dict[str, Any], override: str) -> str:
    """Set one dotted key; returns it."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RequestError(f"--set {override}: must be key=value, as in --set grid.seeds=20")
    *parents, last = key.split(".")
    section: Any = raw
    for parent in parents:
        section = section.setdefault(parent, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise RequestError(f"--set {override}: {'.'.join(parents)} is not a section of the study file")
    try:
        section[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RequestError(f"--set {override}: the value is not valid YAML: {error}") from error
    return key


def _explain(path: Path, raw: object, overridden: Sequence[str], detail: Mapping[str, Any]) -> str:
    """One pydantic error as a line with place, value, rule and remedy."""
    keys = _without_tags(raw, detail["loc"])
    dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    place = "--set" if any(dotted == key or dotted.startswith((f"{key}.", f"{key}[")) for key in overridden) else str(path)
    if detail["type"] == "missing":
        return f"{place}: {dotted} is missing; it has no default"
    if detail["type"] == "extra_forbidden":
        return f"{place}: unknown key {dotted}{did_you_mean(keys[-1], _siblings(keys[:-1], raw))}"
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        given = raw.get("data", {}).get("source") if isinstance(raw, dict) and isinstance(raw.get("data"), dict) else None
        rule = f"one of {', '.join(SOURCES)}, or a plug-in as package.module:name{did_you_mean(given, SOURCES)}"
        return f"{place}: data.source = {given!r} must be {rule}"
    if detail["type"] == "value_error" and isinstance(detail["input"], dict | BaseModel) and " must " in detail["msg"]:
        return ": ".join(filter(None, (place, dotted, detail["msg"].removeprefix("Value error, "))))
    rule = re.sub(r"^\w+ should (be a valid )?(be )?", lambda found: "be " if "be" in found[0] else "", detail["msg"])
    rule = rule.replace("Value error, ", "be ")
    if detail["type"] in ("model_type", "model_attributes_type"):
        rule = "be a section: keys and values of its own"
    given = "" if isinstance(detail["input"], dict | BaseModel) else f" = {detail['input']!r}"
    return f"{place}: {dotted}{given} must {rule}{_number_as_text(detail['input'])}"


def _number_as_text(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?e[+-]?\d+", value, re.IGNORECASE):
        mantissa, _, exponent = repr(float(value)).partition("e")
        number = f"{mantissa}{'' if '.' in mantissa else '.0'}e{exponent}" if exponent else mantissa
        return f"; YAML reads {value} as text: write {number}"
    return ""


def _without_tags(raw: object, location: Sequence[int | str]) -> list[int | str]:
    """A pydantic location without the names of union members, which are no keys of the file."""
    keys: list[int | str] = []
    node: Any = raw
    for position, key in enumerate(location):
        is_last = position == len(location) - 1
        if isinstance(node, list | tuple) and isinstance(key, int):
            node = node[key] if key < len(node) else None
        elif isinstance(node, dict) and (key in node or (is_last and not _is_union_member(key))):
            node = node.get(key)
        elif isinstance(key, int):
            node = None
        else:
            continue
        keys.append(key)
    return keys


def _is_union_member(key: int | str) -> bool:
    return key in SOURCES or key == "plugin" or any(mark in str(key) for mark in "[(") or key in ("int", "float", "str")


def _siblings(parents: Sequence[int | str], raw: object) -> list[str]:
    """The keys that the section at `parents` knows."""
    section: Any = Study
    for key in parents:
        if key == "data":
            given = raw.get("data", {}).get("source") if isinstance(raw, dict) else None
            section = SOURCES.get(str(given), PluginData)
        else:
            section = section.model_fields[key].annotation
            section = next((kind for kind in typing.get_args(section) if kind is not type(None)), section)
    return list(section.model_fields)
