"""Typed configuration: the base of every spec, YAML in and out, overrides, and errors that name the key.

A spec is frozen and strict: an unknown key, a wrong type or an impossible value is refused before anything is
loaded, with the key's path and, for a misspelt key, the nearest known one.
"""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from sepiola.errors import SpecError, brief, nearest, shown
from sepiola.specs.safe_files import read_text
from sepiola.specs.safe_yaml import DEEPEST, LONGEST, load_yaml

Kinds = Mapping[str, type["Spec"]]

Plain: TypeAlias = dict[str, Any]
"""Plain data of JSON or YAML by its keys: what lies under a key may be anything that they hold."""

FAULTS = 12  # that one message lists


class Spec(BaseModel):
    """Base class of all specs: frozen, no unknown keys, no truth value for a number; all numbers are finite, and whole
    ones fit 64 bits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers(cls, raw: object) -> object:
        for key, value in raw.items() if isinstance(raw, Mapping) else ():
            field = cls.model_fields.get(key) if isinstance(key, str) and isinstance(value, int) else None
            kinds = _members(field.annotation) if field is not None else [bool]
            if isinstance(value, bool) and bool not in kinds and (int in kinds or float in kinds):
                raise ValueError(f"'{key}' is {shown(value)}; expected a number")
            if field is not None and not -(1 << 63) <= value < 1 << 63:
                raise ValueError(f"'{key}' is {shown(value)}; expected a number of 64 bits")
        return raw

    @classmethod
    def parse(cls, raw: object, source: str = "spec", kinds: Kinds | None = None) -> Self:
        """Validates `raw` (plain YAML data). Raises SpecError that lists every fault with its key's path.

        `kinds` are the specs by name that a field may hold whose members this package does not list (objectives).
        """
        if isinstance(raw, cls):
            return raw
        if not isinstance(raw, Mapping):
            raise SpecError(f"{source}: expected keys and values, got {shown(raw)}")
        try:
            return cls.model_validate(raw, context={"kinds": kinds or {}})
        except ValidationError as error:
            faults = _own_faults(error.errors(include_url=False))
            lines = [_explain(cls, fault, tuple((kinds or {}).values())) for fault in faults[:FAULTS]]
            if len(faults) > FAULTS:
                lines.append(f"… and {len(faults) - FAULTS} more")
            raise SpecError(f"{source}: " + "\n  ".join(lines)) from None

    def to_dict(self) -> Plain:
        """Plain YAML data that `parse` reads back; values equal to their default are left out."""
        return self.model_dump(mode="json", exclude_defaults=True)


_EXPECTED = {
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), "keys and values"),
    "string_type": "a text",
}
"""What YAML has in the place of Python's types, by pydantic's names of faults."""


def _own_faults(faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The faults but for lists that are too short only because members of them are wrong."""
    inner = {fault["loc"][:length] for fault in faults for length in range(len(fault["loc"]))}
    return [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in inner]


def _explain(root: type[BaseModel], fault: ErrorDetails, kinds: Sequence[type[BaseModel]] = ()) -> str:
    path = brief(_path(root, fault["loc"], kinds))
    if fault["type"] == "extra_forbidden":
        return f"{path}: unknown key; {nearest(str(fault['loc'][-1]), _keys_at(root, fault['loc'][:-1], kinds))}"
    if fault["type"] == "missing":
        return f"{path}: this key is required"
    if fault["type"] == "invalid_key":
        return f"{path}: a key is a text, got {shown(fault['loc'][-1])}"
    if fault["type"] == "union_tag_invalid":
        known = [tag.strip("' ") for tag in fault["ctx"]["expected_tags"].split(",")]
        key = fault["ctx"]["discriminator"].strip("'")
        return f"{path}.{key}: unknown {key} {shown(fault['ctx']['tag'])}; {nearest(fault['ctx']['tag'], known)}"
    if (kind := fault["type"]) in _EXPECTED or kind == "too_short":
        expected = _EXPECTED.get(kind) or f"a list of at least {fault['ctx']['min_length']}"
        return f"{path}: expected {expected}, got {shown(fault['input'])}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{path}: {message}" if path else message
    return f"{path}: {message[0].lower() + message[1:]}, got {shown(fault['input'])}"


def _path(root: type[BaseModel], location: Sequence[int | str], kinds: Sequence[type[BaseModel]] = ()) -> str:
    """Joins a pydantic location, leaving out the names of union members, which are not keys of the file."""
    text = ""
    types_here: list[object] = [root]
    for step in location:
        models = _models(types_here, kinds)
        if isinstance(step, int):
            text += f"[{step}]"
            types_here = [a for t in types_here for a in typing.get_args(t)]
            types_here = [m for t in types_here for m in _members(t)]
            continue
        fields = [m.model_fields[step] for m in models if step in m.model_fields]
        if not fields and _is_union_tag(str(step), types_here):
            continue
        text += f".{step}" if text else str(step)
        types_here = [m for f in fields for m in _members(f.annotation)]
    return text


def _is_union_tag(step: str, candidates: Sequence[object]) -> bool:
    for candidate in candidates:
        if getattr(candidate, "__name__", None) == step:
            return True
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            kind = candidate.model_fields.get("kind")
            if kind is not None and step in typing.get_args(kind.annotation):
                return True
    return False


def _members(annotation: object) -> list[object]:
    """The types that an annotation may be, with unions, None and Annotated taken apart."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [m for a in typing.get_args(annotation) if a is not type(None) for m in _members(a)]
    return [annotation]


def _models(candidates: Sequence[object], kinds: Sequence[type[BaseModel]]) -> list[type[BaseModel]]:
    """The specs among the candidates, and those of `kinds` that may stand in the place of one; in that of one whose
    `kind` is any text (a reward), all specs that are of it.
    """
    models = [t for t in candidates if isinstance(t, type) and issubclass(t, BaseModel)]
    own = [part for model in models if _is_open(model) for part in _below(model)]
    return models + own + [kind for kind in kinds for model in models if issubclass(kind, model) and kind is not model]


def _is_open(model: type[BaseModel]) -> bool:
    return "kind" in model.model_fields and model.model_fields["kind"].annotation is str


def _below(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The specs that are of a base, however far below it."""
    return [part for direct in model.__subclasses__() for part in (direct, *_below(direct))]


def _keys_at(root: type[BaseModel], location: Sequence[int | str], kinds: Sequence[type[BaseModel]] = ()) -> set[str]:
    here: list[object] = [root]
    for step in location:
        if isinstance(step, int):
            here = [m for t in here for a in typing.get_args(t) for m in _members(a)]
            continue
        models = _models(here, kinds)
        fields = [m.model_fields[step] for m in models if step in m.model_fields]
        if fields:
            here = [m for f in fields for m in _members(f.annotation)]
        elif _is_union_tag(str(step), here):
            here = [t for t in here if _is_union_tag(str(step), [t])]
    return {key for model in _models(here, kinds) for key in model.model_fields}


def read_yaml(path: Path) -> Any:
    """Plain data of a YAML file. Raises SpecError when the file cannot be read or is not YAML."""
    return parse_yaml(read_text(path, SpecError, most=4 * LONGEST), str(path))


def parse_yaml(text: str, source: str) -> Any:
    """Plain data of YAML text (`sepiola.specs.safe_yaml`). Raises SpecError that names `source` and the line."""
    return load_yaml(text, source)


def write_yaml(data: object) -> str:
    """YAML text of plain data, keys in their given order, Chinese readable."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def override(raw: Plain, assignments: Sequence[str], flag: str = "--set") -> Plain:
    """Applies `a.b=value` assignments to plain data; list items go by index (`stages.0.steps=10`).

    Values are read as YAML. Raises SpecError, which begins with the `flag` and the assignment, for a malformed one, a
    key under a value that has none, and an index outside its list.
    """
    result = copy.deepcopy(raw)
    for assignment in assignments:
        assign(result, *read_assignment(assignment, flag))
    return result


def read_assignment(assignment: str, flag: str = "--set") -> tuple[str, Any, str]:
    """The key, the value and what names both in a message, of `key=value`. Raises SpecError as `override`."""
    key, equals, text = assignment.partition("=")
    source = f"{flag} {brief(assignment)}"
    if not equals or not key:
        raise SpecError(f"{source}: expected key.path=value")
    return key, parse_yaml(text, source), source


def assign(raw: Plain, key: str, value: object, source: str) -> None:
    """Lays one value under the path `key` of plain data, in place. Raises SpecError as `override`."""
    *parents, last = key.split(".")
    if len(parents) >= DEEPEST:
        raise SpecError(f"{source}: a path of {len(parents) + 1:,} keys; expected at most {DEEPEST}")
    here: object = raw
    for depth, parent in enumerate(parents):
        here = _descend(here, parents[:depth], parent, source)
    if isinstance(here, list):
        here[_index(here, last, source)] = value
    else:
        _keys(here, parents, last, source)[last] = value


def _descend(here: object, path: Sequence[str], key: str, source: str) -> object:
    if isinstance(here, list):
        return here[_index(here, key, source)]
    keys = _keys(here, path, key, source)
    if keys.get(key) is None:
        keys[key] = {}
    return keys[key]


def _keys(here: object, path: Sequence[str], key: str, source: str) -> dict[str, Any]:
    """The keys of a value. A name stands for a spec and has none: the mend says how it gets them."""
    if isinstance(here, dict):
        return here
    place, named = ".".join(path), "like" if path[-1] == "model" else "kind"
    mend = f"; give it keys first: --set '{place}={{{named}: {here}}}'" if isinstance(here, str) else ""
    raise SpecError(f"{source}: '{place}' is {brief(str(here))}, with no key '{key}'{brief(mend)}")


def _index(items: Sequence[object], key: str, source: str) -> int:
    number = int(key) if key.isascii() and key.isdecimal() and len(key) < 10 else len(items)
    if number >= len(items):
        known = f"expected an index from 0 to {len(items) - 1}" if items else "the list is empty"
        raise SpecError(f"{source}: '{brief(key)}' is not an index of this list; {known}")
    return number
