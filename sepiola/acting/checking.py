"""Whether calls are right, by the rules of the Berkeley Function Calling Leaderboard (Patil et al., ICML 2025).

There must be as many calls as there are right ones, in any order. Strings are compared without spaces, case and
`,./-_*^`, with ' for ". A whole number counts as a float, a float never as a whole number, and a bool is no number. A
tuple is a list. Only one level of nested types is looked at. A value that is not of the declared type, but of the
answer's own, passes as a variable. An argument that was not declared is wrong; so is one that is missing, unless "" is
among its values. Calling nothing is right where nothing is to be called. What could not be read is never right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sepiola.calling.functions import Call
from sepiola.calling.schemas import Schema
from sepiola.errors import shown
from sepiola.specs.base import Plain

TYPES: dict[object, type] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict, None: str,
}  # fmt: skip
"""The Python type of a declared one; what is declared as any value is a string, as the leaderboard has it."""
LEFT_OUT = ""
"""Among the values of an argument: it may be left out."""
Named = tuple[str, Mapping[str, object]]
"""A function's name and the arguments of a call."""
_UNSEEN = re.compile(r"[ ,./\-_*^]")


def same_value(one: object, other: object) -> bool:
    """Whether two JSON values are one: 1 is 1.0, and is not true."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def same_calls(right: Sequence[Named], said: Sequence[Named]) -> bool:
    """Whether the same functions are called with the same arguments, in any order."""
    left = list(said)
    for name, arguments in right:
        alike = [place for place, call in enumerate(left) if call[0] == name and _same(arguments, call[1])]
        if not alike:
            return False
        del left[alike[0]]
    return not left


def _same(arguments: Mapping[str, object], others: Mapping[str, object]) -> bool:
    return arguments.keys() == others.keys() and all(same_value(value, others[k]) for k, value in arguments.items())


def fault_of(calls: Sequence[Call] | None, allowed: Sequence[Plain], tools: Sequence[Plain]) -> str:
    """What is wrong with the calls, empty where nothing is; None are calls that could not be read.

    `allowed` are the right ones, `{"name", "arguments"}` with the list of values of each argument; `tools` are
    declared as OpenAI lists them.
    """
    if calls is None:
        return "no call could be read"
    if len(calls) != len(allowed):
        return f"expected {len(allowed)} calls, got {len(calls)}"
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
    left = list(calls)
    for right in allowed:
        faults = [fault_of_call(call, right, schemas.get(right["name"], {})) for call in left]
        if "" not in faults:
            return next((f for call, f in zip(left, faults, strict=True) if call.name == right["name"]), faults[0])
        del left[faults.index("")]
    return ""


def fault_of_call(call: Call, right: Plain, schema: Schema) -> str:
    """What is wrong with one call; empty where nothing is."""
    if call.name != right["name"]:
        return f"expected a call of {right['name']}, got {call.name}"
    properties, values = schema.get("properties", {}), right["arguments"]
    for name in schema.get("required", ()):
        if name not in call.arguments:
            return f"{call.name}: the argument '{name}' is missing"
    for name, value in call.arguments.items():
        if name not in properties or name not in values:
            return f"{call.name}: the argument '{name}' is not expected"
        if not _right(value, values[name], properties[name]):
            return f"{call.name}: {name}: got {shown(value)}, expected one of {shown(values[name])}"
    for name, some in values.items():
        if name not in call.arguments and LEFT_OUT not in some:
            return f"{call.name}: the argument '{name}' is missing"
    return ""


def _right(value: Any, allowed: Sequence[object], schema: Mapping[str, object]) -> bool:
    kind = TYPES.get(_kind(schema), str)
    items = schema.get("items") if kind is list else None
    inner = TYPES.get(_kind(items), str) if isinstance(items, Mapping) else None
    if kind is float and type(value) is int:
        value = float(value)
    variable = _variable(value, allowed, kind, inner)
    if variable is None:
        return False
    if not variable:
        if kind is dict:
            return any(_right_object(value, one) for one in allowed)
        if kind is list and inner is dict:
            return any(_right_objects(value, one) for one in allowed)
        if kind in (str, list):
            return _alike(value) in [_alike(one, kind) for one in allowed if kind is list or isinstance(one, str)]
    return value in allowed


def _variable(value: object, allowed: Sequence[object], kind: type, inner: type | None) -> bool | None:
    """Whether a value stands for a variable, as the answer's own type says; None for a value of a wrong type."""
    answer: type | None = next((type(one) for one in allowed if one != LEFT_OUT), None)
    variable = answer is not None and answer is not kind
    if type(value) is kind:
        if inner is None or not isinstance(value, list):
            return variable
        for one in allowed:
            if not isinstance(one, list) or all(_variable(v, one, inner, None) is not None for v in value):
                return variable
        return None
    return True if answer is not None and type(value) is answer else None


def _right_object(value: object, allowed: object) -> bool:
    """An object is right by its keys, each with the list of its values; one that may be left out has "" among them."""
    if not isinstance(value, Mapping) or not isinstance(allowed, Mapping):
        return False
    for key, part in value.items():
        if key not in allowed or _plain(part) not in [_plain(one) for one in allowed[key]]:
            return False
    return all(key in value or LEFT_OUT in some for key, some in allowed.items())


def _right_objects(value: Sequence[object], allowed: object) -> bool:
    if not isinstance(allowed, list) or len(value) != len(allowed):
        return False
    return all(_right_object(part, one) for part, one in zip(value, allowed, strict=True))


def _alike(value: object, kind: type = object) -> object:
    """A string, or a list of strings, as it is compared; a text among lists is the list of its letters."""
    if isinstance(value, str):
        return [_plain(letter) for letter in value] if kind is list else _plain(value)
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _plain(value: object) -> object:
    return _UNSEEN.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _kind(schema: Mapping[str, object]) -> object:
    kind = schema.get("type")
    return kind if isinstance(kind, str) else None
