"""Which JSON Schemas a constraint understands (draft 2020-12): a keyword that it does not is refused with its path."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .errors import SpecError, brief, shown

TYPES = ("string", "integer", "number", "boolean", "null", "array", "object")
FORMATS = ("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
NOTES = ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$schema", "$id",
         "$comment", "x-guidance")  # fmt: skip
"""Keywords that say nothing of what is valid."""
SCHEMA = ("items", "additionalProperties")
SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
NAMED = ("properties", "$defs", "definitions", "patternProperties")
NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
COUNTS = ("minLength", "maxLength", "minItems", "maxItems")
VALUES = ("type", "enum", "const", "format", "pattern", "required", "$ref")
KNOWN = {*NOTES, *SCHEMA, *SCHEMAS, *NAMED, *NUMBERS, *COUNTS, *VALUES}
DEEPEST = 64
LARGEST = 10**18 - 1

Schema = Mapping[str, Any]
"""A JSON Schema as it is read. Its values may be anything until `check_schema` has checked it."""
Part = dict[str, object]
_YEAR = "[1-9][0-9]{3}"
_LEAP = "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
"""Dates of the years 1000 to 9999 that the calendar has."""
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
DATES = {"date": DATE, "time": _TIME, "date-time": f"{DATE}T{_TIME}"}
"""What is written for these formats: a part of RFC 3339 that has an end and that every reader reads."""


def check_schema(schema: object) -> None:
    """Raises SpecError, which names the path, for what is no schema, or one that a constraint would not keep whole."""
    for path, part in parts_of(schema):
        if isinstance(part, bool):
            continue
        if not isinstance(part, Mapping):
            raise SpecError(f"{path}: expected a JSON Schema (an object or true), got {shown(part)}")
        _check(path, part)


def dated(schema: object) -> object:
    """The schema with a pattern in the place of each format of `DATES`."""

    def date(part: Part) -> None:
        if part.get("format") in DATES and "pattern" not in part:
            part["pattern"] = f"^{DATES[str(part.pop('format'))]}$"

    return _each(schema, date)


def whole(schema: object) -> object:
    """The schema with patterns of the whole text in the place of those that may stand anywhere in it."""

    def anchor(part: Part) -> None:
        if isinstance(pattern := part.get("pattern"), str):
            part["pattern"] = (
                f"^(?:{pattern.removeprefix('^').removesuffix('$').removeprefix('.*').removesuffix('.*')})$"
            )

    return _each(schema, anchor)


def _each(schema: object, change: Callable[[Part], None]) -> object:
    """The schema with every part of it changed."""
    if isinstance(schema, list):
        return [_each(part, change) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    made: Part = {
        key: {name: _each(part, change) for name, part in value.items()}
        if key in NAMED and isinstance(value, Mapping)
        else _each(value, change)
        if key in SCHEMA or key in SCHEMAS
        else value
        for key, value in schema.items()
    }
    change(made)
    return made


def _check(path: str, part: Schema) -> None:
    for key in part:
        if key not in KNOWN:
            raise SpecError(f"{path}/{brief(str(key))}: a keyword that constraints do not support; leave it out")
    _check_texts(path, part)
    types = part.get("type", [])
    for name in [types] if isinstance(types, str) else types if isinstance(types, list) else [types]:
        if name not in TYPES:
            raise SpecError(f"{path}/type: got {shown(name)}, expected one of {', '.join(TYPES)}")
    if (kind := part.get("format")) is not None and kind not in FORMATS:
        raise SpecError(f"{path}/format: got {shown(kind)}; constraints support {', '.join(FORMATS)}")
    reference = part.get("$ref")
    if reference is not None and not (isinstance(reference, str) and reference.startswith("#")):
        raise SpecError(f"{path}/$ref: got {shown(reference)}; expected one inside the schema (#/$defs/…)")
    for key in COUNTS:
        if key in part and not (type(part[key]) is int and part[key] >= 0):
            raise SpecError(f"{path}/{key}: got {shown(part[key])}, expected a whole number of at least 0")
    for key in NUMBERS:
        if key in part and (isinstance(part[key], bool) or not isinstance(part[key], int | float)):
            raise SpecError(f"{path}/{key}: got {shown(part[key])}, expected a number")
        if key in part and isinstance(part[key], int) and abs(part[key]) > LARGEST:
            raise SpecError(f"{path}/{key}: got {shown(part[key])}, expected a whole number of at most 18 digits")
    if "pattern" in part and not isinstance(part["pattern"], str):
        raise SpecError(f"{path}/pattern: got {shown(part['pattern'])}, expected a regular expression")
    if "enum" in part and not (isinstance(part["enum"], list) and part["enum"]):
        raise SpecError(f"{path}/enum: got {shown(part['enum'])}, expected a list of at least one value")


def _check_texts(path: str, part: Schema) -> None:
    """Raises SpecError where what a part's own values, or the names in it, say is no text that could be written."""
    said = {key: value for key, value in part.items() if key not in (*SCHEMA, *SCHEMAS, *NAMED)}
    names = [[*part[key]] for key in NAMED if isinstance(part.get(key), Mapping)]
    try:
        json.dumps([said, names], ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise SpecError(f"{path}: holds half a character pair, which no text has") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"{path}: is no JSON ({brief(str(error))})") from None


def parts_of(schema: object, path: str = "#", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Every schema inside the schema with its path, the outer ones first."""
    yield path, schema
    if not isinstance(schema, Mapping):
        return
    if depth > DEEPEST:
        raise SpecError(f"{brief(path)}: nested deeper than {DEEPEST} levels")
    for key, value in schema.items():
        if key in SCHEMA:
            yield from parts_of(value, f"{path}/{key}", depth + 1)
        elif key in SCHEMAS:
            if not isinstance(value, list) or not value:
                raise SpecError(f"{path}/{key}: got {shown(value)}, expected a list of schemas")
            for number, part in enumerate(value):
                yield from parts_of(part, f"{path}/{key}/{number}", depth + 1)
        elif key in NAMED:
            if not isinstance(value, Mapping):
                raise SpecError(f"{path}/{key}: got {shown(value)}, expected an object of schemas")
            for name, part in value.items():
                yield from parts_of(part, f"{path}/{key}/{brief(str(name))}", depth + 1)
