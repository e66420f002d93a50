"""Whether a sample is valid, by readers that know nothing of the grammar: JSON, pydantic, JSON Schema, the rules of
BFCL, and the package `jsonschema` where it is installed.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sepiola.acting.checking import fault_of
from sepiola.calling.calls import CALLS, read, read_json, write
from sepiola.calling.functions import Call, Function
from sepiola.errors import CallError
from tests.json_values import fits

TODAY = datetime.date(2024, 5, 1)
JSONSCHEMA = importlib.util.find_spec("jsonschema") is not None


def fault_of_calls(text: str, functions: Sequence[Function], functional: bool) -> str:
    """What is wrong with a text that should be calls of functions; empty where nothing is."""
    named = {function.name: function for function in functions}
    try:
        if functional:
            calls = read(text, functions, today=TODAY)
            again = read(write(calls, functions), functions, today=TODAY)
        else:
            calls = read_json(text, functions)
            again = read_json(json.dumps([call.to_json() for call in calls]), functions)
    except CallError as error:
        return f"CallError: {error}"
    if len(calls) > CALLS:
        return f"{len(calls)} calls"
    for call, other in zip(calls, again, strict=True):
        function = named[call.name]
        if _whole(call, function) != _whole(other, function):
            return f"{call} comes back as {other}"
        if fault := fault_of_value(call.arguments, function.schema) or _fault_by_bfcl(call, function.tool):
            return f"{call}: {fault}"
    return ""


def _whole(call: Call, function: Function) -> dict[str, object]:
    """The arguments with those that are left out: one at its default says the same as one that is left out."""
    return {**{p.name: p.default for p in function.parameters if not p.required}, **call.arguments}


def fault_of_json(text: str, schema: Mapping[str, Any]) -> str:
    """What is wrong with a text that should be JSON of a schema; empty where nothing is."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_none)
    except ValueError as error:
        return f"no JSON: {error}"
    fault = fault_of_value(value, schema)
    if fault or not isinstance(value, dict) or schema.get("additionalProperties") is not False:
        return fault
    return _fault_by_bfcl(Call("f", value), {"type": "function", "function": {"name": "f", "parameters": schema}})


def fault_of_value(value: object, schema: Mapping[str, Any]) -> str:
    """Why a value does not fit a schema; empty where it does."""
    if not fits(value, schema):
        return f"{json.dumps(value, ensure_ascii=False)} does not fit"
    if JSONSCHEMA:
        from jsonschema import Draft202012Validator

        checker = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        return "; ".join(str(error.message) for error in checker.iter_errors(value))
    return ""


def _fault_by_bfcl(call: Call, tool: Mapping[str, Any]) -> str:
    """What BFCL's rules find in a call where that very call is right: undeclared or missing arguments, other types."""
    properties = tool["function"]["parameters"].get("properties", {})
    right = {name: [_right(value, properties.get(name, {}))] for name, value in call.arguments.items()}
    for name in properties:
        right.setdefault(name, [""])  # may be left out, unless it is required
    return fault_of([call], [{"name": call.name, "arguments": right}], [dict(tool)])


def _right(value: object, schema: Mapping[str, Any]) -> object:
    """A value as right answers state it: objects have a list of values for each key, and numbers that need not be whole
    are floats, as which BFCL reads those of a call (whole ones above 2**53 are then rounded).
    """
    if schema.get("type") in ("number", "float") and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, dict) and schema.get("type") == "object":
        return {key: [part] for key, part in value.items()}
    items = schema.get("items") if schema.get("type") == "array" else None
    if isinstance(value, list) and isinstance(items, Mapping) and items.get("type") == "object":
        return [{key: [part] for key, part in one.items()} if isinstance(one, dict) else one for one in value]
    return value


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a key stands twice: {[name for name, _ in pairs]}")
    return dict(pairs)


def _none(name: str) -> object:
    raise ValueError(f"{name} is no number")
