"""Whether a value fits a JSON Schema, for tests, by the keywords that functions, declared or ours, use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
    "array": (list,), "object": (dict,),
}  # fmt: skip
NOTES = ("description", "default", "title")


def fits(value: Any, schema: Any) -> bool:
    """Raises KeyError for a keyword that is not known here."""
    if isinstance(schema, bool):
        return schema
    return all(_fits(value, key, said, schema) for key, said in schema.items() if key not in NOTES)


def _fits(value: Any, key: str, said: Any, schema: Mapping[str, Any]) -> bool:
    if key == "type":
        kinds = [said] if isinstance(said, str) else said
        return any(isinstance(value, TYPES[k]) and (not isinstance(value, bool) or k == "boolean") for k in kinds)
    if key in ("enum", "const"):
        return any(type(value) is type(one) and value == one for one in (said if key == "enum" else [said]))
    if key == "anyOf":
        return any(fits(value, part) for part in said)
    if key == "pattern":
        return not isinstance(value, str) or re.search(said, value) is not None
    if key in ("minimum", "maximum"):
        number = isinstance(value, int | float)
        return not number or (value >= said if key == "minimum" else value <= said)
    if key in ("minLength", "maxLength", "minItems", "maxItems"):
        if not isinstance(value, str if key.endswith("Length") else list):
            return True
        return len(value) >= said if key.startswith("min") else len(value) <= said
    if key == "format":
        return not isinstance(value, str) or _formatted(value, said)
    if key == "items":
        return not isinstance(value, list) or all(fits(part, said) for part in value)
    if key == "properties":
        return not isinstance(value, dict) or all(
            fits(value[name], part) for name, part in said.items() if name in value
        )
    if key == "required":
        return not isinstance(value, dict) or all(name in value for name in said)
    if key == "additionalProperties":
        known = schema.get("properties", {})
        return not isinstance(value, dict) or all(fits(part, said) for name, part in value.items() if name not in known)
    raise KeyError(key)


def _formatted(value: str, kind: str) -> bool:
    if kind == "date":
        return bool(date.fromisoformat(value))
    patterns = {"email": r"[^@\s]+@[^@\s]+", "date-time": r"\d{4}-\d\d-\d\d[Tt ].+", "uri": r"\w[\w+.-]*:.*"}
    return re.fullmatch(patterns[kind], value) is not None
