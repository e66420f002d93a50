"""What readers of tool calls share: declarations as OpenAI's `tools` list them, and examples of requests with calls.

An example's `metadata` holds the `tools` that its request declares and the right `calls` (`{"name", "arguments"}`; the
target is their JSON). `arguments` is None where only the name is known. `irrelevant` says that nothing is to be called.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sepiola.data.example import Example, Message
from sepiola.errors import DataError, shown
from sepiola.specs.base import Plain

TYPES = {
    "dict": "object", "hashmap": "object", "hashtable": "object", "float": "number", "double": "number",
    "long": "integer", "short": "integer", "byte": "integer", "bigint": "integer", "char": "string", "tuple": "array",
    "list": "array", "arraylist": "array", "queue": "array", "stack": "array", "bool": "boolean",
}  # fmt: skip
"""Types of Python, Java, JavaScript and OpenAPI that JSON Schema names otherwise."""
NUMBER_FORMATS = ("int32", "int64", "float", "double")
"""OpenAPI's widths of numbers, which JSON has not."""
DROPPED = ("optional", "example", "nullable", "xml")
"""Keywords that are no JSON Schema's: what is optional is not `required`."""


def schema_of(raw: object, where: str) -> dict[str, object]:
    """The JSON Schema of a declared type. A type that is `any`, or none, allows every value.

    A list whose `enum` names no lists means its members. Raises DataError for a type that is no object.
    """
    if not isinstance(raw, Mapping):
        raise DataError(f"{where}: expected a type as an object, got {shown(raw)}")
    schema = {key: value for key, value in raw.items() if key not in DROPPED}
    if isinstance(kind := schema.get("type"), str):
        kind = kind.lower()
        schema["type"] = TYPES.get(kind, kind)
        if kind in ("any", ""):
            del schema["type"]
    if schema.get("format") in NUMBER_FORMATS:
        del schema["format"]
    if isinstance(named := schema.get("properties"), Mapping):
        schema["properties"] = {name: schema_of(part, f"{where}.{name}") for name, part in named.items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            schema[key] = schema_of(schema[key], f"{where}.{key}")
    choices = schema.get("enum")
    if schema.get("type") == "array" and isinstance(choices, list) and not any(isinstance(c, list) for c in choices):
        schema["items"] = {**schema.get("items", {}), "enum": schema.pop("enum")}
    return schema


def tool_of(name: str, description: str, parameters: object, where: str) -> Plain:
    """A function as OpenAI's `tools` list it. One without parameters takes an empty object."""
    schema = schema_of(parameters or {}, f"{where}: {name}")
    whole = {"type": "object", "properties": {}, **schema}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": whole}}


def calling(
    identity: str,
    messages: Sequence[Message],
    calls: Sequence[Mapping[str, object]],
    tools: Sequence[Mapping[str, object]] | None,
    metadata: Mapping[str, object],
) -> Example:
    """A request with the calls that answer it."""
    data: dict[str, object] = {**metadata, "calls": list(calls), "irrelevant": not calls}
    if tools is not None:
        data["tools"] = list(tools)
    return Example(identity, tuple(messages), json.dumps(list(calls), ensure_ascii=False), metadata=data)
