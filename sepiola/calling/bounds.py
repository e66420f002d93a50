"""JSON Schemas of arguments with an end: every string, list and number is bounded, dates and times are real ones.

What a model with random weights may write under such a schema is finite, and Python reads all of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import SpecError, shown
from .schemas import DATE, Schema

TEXT = 200
"""Characters of a string that names no bound."""
ITEMS = 20
"""Members of a list that names no bound."""
LARGEST = 10**15
"""Size of a number that names no bound: floating-point numbers hold all whole ones up to it."""

TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?"
FORMATS = {"date": DATE, "time": TIME, "date-time": f"{DATE}T{TIME}"}


def bounded(schema: Schema) -> dict[str, object]:
    """The schema with a bound wherever it names none.

    Raises SpecError for a part that may be anything, an object of unknown keys, and for a format without a pattern.
    """
    return _bounded(schema, "", schema.get("$defs", {}), ())


def _bounded(schema: object, path: str, defined: Schema, inside: tuple[str, ...]) -> dict[str, object]:
    """`defined` are the schemas that references name, which are written out in their place; `inside` those around."""
    if not isinstance(schema, Mapping):
        raise SpecError(f"{path or 'its type'}: got {shown(schema)}, expected a schema")
    part = {key: value for key, value in schema.items() if key not in ("title", "default", "$defs")}
    if (reference := part.pop("$ref", None)) is not None:
        name = str(reference).removeprefix("#/$defs/")
        if name in inside or name not in defined:
            raise SpecError(f"{path or 'its type'}: {name} holds itself: a call must end; name another type")
        return _bounded(defined[name], path, defined, (*inside, name)) | part
    if "properties" in part:
        properties = part["properties"].items()
        part["properties"] = {name: _bounded(value, f"{path}/{name}", defined, inside) for name, value in properties}
    for key in ("anyOf", "oneOf", "allOf"):
        if key in part:
            part[key] = [_bounded(value, f"{path}/{key}", defined, inside) for value in part[key]]
            part.pop("discriminator", None)
            return part
    if "enum" in part or "const" in part:
        return part
    kind = part.get("type")
    if kind == "string":
        return _string(part, path)
    if kind in ("integer", "number"):
        below = any(key in part for key in ("minimum", "exclusiveMinimum"))
        above = any(key in part for key in ("maximum", "exclusiveMaximum"))
        return part | ({} if below else {"minimum": -LARGEST}) | ({} if above else {"maximum": LARGEST})
    if kind == "array":
        if "items" not in part:
            raise SpecError(f"{path or 'its type'}: a list of anything; name what it holds: list[str]")
        items = _bounded(part["items"], f"{path}/items", defined, inside)
        return part | {"items": items, "maxItems": part.get("maxItems", ITEMS)}
    if kind == "object":
        if "properties" not in part:
            raise SpecError(f"{path or 'its type'}: a dict of unknown keys; use a dataclass or a pydantic model")
        return part | {"additionalProperties": False}
    if kind in ("boolean", "null"):
        return part
    raise SpecError(f"{path or 'its type'}: may be anything ({shown(dict(schema))}); name its type")


def _string(part: dict[str, object], path: str) -> dict[str, object]:
    kind = part.pop("format", None)
    if kind is None:
        return part if "pattern" in part else part | {"maxLength": part.get("maxLength", TEXT)}
    if kind not in FORMATS:
        raise SpecError(f"{path or 'its type'}: strings of the format '{kind}' are not supported; use str")
    return part | {"pattern": f"^{FORMATS[kind]}$"}
