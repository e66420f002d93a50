"""From a typed Python callable to a function that a model can call: its parameters, their JSON Schema, its signature.

`@function` reads the signature, the annotations (pydantic's `Field` for ranges, lengths and descriptions) and the
docstring. What a call could not say without doubt is refused when the function is made, with the reason.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from sepiola.acting.docstrings import arguments_of, phrasings_of, summary_of
from sepiola.calling.bounds import bounded
from sepiola.calling.functions import Function, Parameter
from sepiola.calling.policy import WAITS, waits
from sepiola.calling.schemas import Schema, check_schema
from sepiola.errors import SpecError, brief, shown

STATE = "phone"
"""The name of a first parameter that the agent supplies: it is no argument of the call, unless its type is a text or
another `PLAIN` one: then it is a phone's number, and said as all arguments are.
"""
PLAIN = {"string", "integer", "number", "boolean"}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def function(call: Callable[..., object]) -> Function:
    """The function of a typed callable.

    The docstring's first paragraph describes it, its `Args:`, or NumPy's or Sphinx's form of that, the parameters.
    Types are str, int, float, bool, dates and times, Literal, Optional, lists, dataclasses and pydantic models. Raises
    SpecError, with the reason, for a signature that a call could not state: no annotation, no docstring, `*args`, a
    type that has no JSON Schema, a wrong default, an async function, or one that yields.
    """
    if isinstance(call, Function):
        return call
    name = getattr(call, "__name__", "")
    if not callable(call) or not NAME.fullmatch(name):
        raise SpecError(f"{shown(name or call)}: a function needs a name of letters, digits and _, up to 64")
    if waits(call):
        raise SpecError(f"{name} {WAITS}")
    text = inspect.getdoc(call)
    if not text:
        raise SpecError(f"{name}: no docstring; its first paragraph tells the model what the function does")
    try:
        hints = typing.get_type_hints(call, include_extras=True)
        parameters = list(inspect.signature(call).parameters.values())
    except Exception as error:
        raise SpecError(f"{name}: its signature cannot be read ({error})") from None
    said = arguments_of(text)
    takes_state = bool(parameters) and parameters[0].name == STATE and not _is_plain(hints.get(STATE, object))
    stated = parameters[1:] if takes_state else parameters
    made = tuple(_parameter(name, parameter, hints, said.get(parameter.name)) for parameter in stated)
    if unknown := set(said) - {parameter.name for parameter in parameters}:
        raise SpecError(f"{name}: its docstring describes '{sorted(unknown)[0]}', which is no parameter")
    examples = tuple(phrasings_of(text))
    return Function(name, summary_of(text), made, call, takes_state, examples)


def functions_of(calls: Sequence[Callable[..., object]]) -> list[Function]:
    """The functions of callables. Raises SpecError as `function` does, for two of one name, and for no list of them."""
    if isinstance(calls, str | bytes | Mapping) or not isinstance(calls, Iterable):
        raise SpecError(f"functions: got {shown(calls)}; expected a list of them: [{getattr(calls, 'name', 'call')}]")
    made = [function(call) for call in calls]
    names = [each.name for each in made]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"two functions are named '{name}'")
    return made


def _is_plain(hint: type[object]) -> bool:
    """Whether a type is a text, a number, yes or no, or one of a few of these; it may also be None."""
    try:
        schema = TypeAdapter(hint).json_schema()
    except (PydanticUserError, TypeError, ValueError, NameError):
        return False
    parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    return bool(parts) and all(part.get("type") in PLAIN or {"enum", "const"} & part.keys() for part in parts)


def _parameter(name: str, given: inspect.Parameter, hints: Mapping[str, Any], described: str | None) -> Parameter:
    where = f"{name}({given.name})"
    if given.kind in (given.VAR_POSITIONAL, given.VAR_KEYWORD, given.POSITIONAL_ONLY):
        raise SpecError(f"{where}: a call names every argument; *args, **kwargs and positional-only ones have no name")
    if given.name not in hints:
        raise SpecError(f"{where}: no annotation; its type says what may be written")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hints[given.name])
        schema = adapter.json_schema()
    except (PydanticUserError, TypeError, ValueError, NameError) as error:
        raise SpecError(f"{where}: {hints[given.name]} has no JSON Schema ({brief(str(error))})") from None
    required = given.default is inspect.Parameter.empty
    try:
        schema = bounded(schema)
        check_schema(schema)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    if described and "description" not in schema:
        schema = {**schema, "description": described}
    default = None if required else _default(where, adapter, given.default)
    if default is not None and _may_be_null(schema):
        raise SpecError(f"{where}: may be None and has another default: a call could not tell them apart")
    return Parameter(given.name, schema, required, default, read=partial(_value, adapter))


def _default(where: str, adapter: TypeAdapter[Any], value: object) -> object:
    """The default as a JSON value."""
    try:
        adapter.validate_python(value, strict=True)
        return adapter.dump_python(value, mode="json")
    except (ValidationError, ValueError) as error:
        raise SpecError(f"{where}: the default {shown(value)} is not of its own type; {_reason(error)}") from None


def _value(adapter: TypeAdapter[Any], value: object) -> object:
    """The Python value of a JSON value. Raises ValueError for another type, and for numbers that JSON does not have."""
    try:
        return adapter.validate_json(json.dumps(value, ensure_ascii=False, allow_nan=False), strict=True)
    except ValidationError as error:
        raise ValueError(_reason(error)) from None


def _may_be_null(schema: Schema) -> bool:
    return any(part.get("type") == "null" for part in schema.get("anyOf", ()))


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return brief(str(error))
    first = error.errors(include_url=False)[0]
    at = brief(".".join(str(part) for part in first["loc"]))
    return f"{at}: {first['msg']}" if at else first["msg"]
