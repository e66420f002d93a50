"""From a typed Python callable to a function that a model can call: its parameters, their JSON Schema, its signature.

`@function` reads the signature, the annotations (pydantic's `Field` for ranges, lengths and descriptions) and the
docstring. What a call could not say without doubt is refused when the function is made, with the reason.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from sepiola.acting.bounds import bounded
from sepiola.errors import CallError, SpecError, brief, shown
from sepiola.generation.schemas import Schema, check_schema
from sepiola.specs.base import Plain, nearest

STATE = "phone"
"""The name of a first parameter that the agent supplies: it is no argument of the call."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Parameter:
    """One argument of a call. `schema` is bounded: every string, list and number of it ends.

    `copied`: a model was taught that its open strings are the request's own words (`sepiola.acting.spans`), or that
    they may be others; None where it was taught neither.
    """

    name: str
    schema: Schema
    adapter: TypeAdapter[Any] = field(repr=False, compare=False)
    required: bool = True
    default: object = None
    copied: bool | None = field(default=None, compare=False)

    @property
    def description(self) -> str:
        return str(self.schema.get("description", ""))


@dataclass(frozen=True)
class Call:
    """A function's name, and the JSON values of its arguments; those that are left out have their defaults."""

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        given = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.arguments.items())
        return f"{self.name}({given})"

    def to_json(self) -> Plain:
        """`{"name": …, "arguments": {…}}`."""
        return {"name": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True)
class Function:
    """A callable that a model may call. It is called as the callable itself is."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    call: Callable[..., object] = field(repr=False, compare=False)
    takes_state: bool = False
    examples: tuple[str, ...] = field(default=(), compare=False)
    """How people ask for it, a phrasing each (`sepiola.acting.synthesis`)."""

    def __call__(self, *arguments: object, **keywords: object) -> Any:
        return self.call(*arguments, **keywords)

    def parameter(self, name: str) -> Parameter:
        """Raises CallError for a name that is no parameter's."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        known = [parameter.name for parameter in self.parameters]
        raise CallError(f"{self.name} has no argument '{brief(name)}'; {nearest(name, known)}")

    @cached_property
    def schema(self) -> Plain:
        """The JSON Schema of the arguments."""
        properties = {
            p.name: {**p.schema, **({} if p.default is None else {"default": p.default})} for p in self.parameters
        }
        required = [parameter.name for parameter in self.parameters if parameter.required]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    @property
    def tool(self) -> Plain:
        """As OpenAI's `tools` list it."""
        described = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": described}

    @cached_property
    def signature(self) -> str:
        """A hash of the name, the parameters and their types: descriptions may change, what is called may not."""
        return signature_of(self.name, self.schema)

    def check(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """The Python values of a call's arguments, defaults left out.

        Raises CallError for an argument that is unknown, missing, or not what its type says.
        """
        values = {}
        for name, value in arguments.items():
            parameter = self.parameter(name)
            try:
                values[name] = parameter.adapter.validate_json(_json(value), strict=True)
            except (ValidationError, ValueError, TypeError, RecursionError) as error:
                raise CallError(f"{self.name}: {name}: got {shown(value)}; {_reason(error)}") from None
        for parameter in self.parameters:
            if parameter.required and parameter.name not in arguments:
                raise CallError(f"{self.name}: the argument '{parameter.name}' is missing")
        return values

    def act(self, state: object, arguments: Mapping[str, Any]) -> Any:
        """Runs a call, on the state that an agent holds where the function takes one. Raises CallError as `check`."""
        values = self.check(arguments)
        return self.call(state, **values) if self.takes_state else self.call(**values)


def signature_of(name: str, schema: Mapping[str, object]) -> str:
    """A hash of a function's name and of what its arguments may be."""
    said = json.dumps([name, _bare(schema)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _bare(schema: object, named: bool = False) -> object:
    """A schema without the words that describe it; the keys of `named` objects are names."""
    if isinstance(schema, Mapping):
        return {
            key: _bare(value, not named and key in ("properties", "$defs"))
            for key, value in schema.items()
            if named or key not in ("description", "title", "examples")
        }
    return [_bare(item) for item in schema] if isinstance(schema, list) else schema


def function(call: Callable[..., object]) -> Function:
    """The function of a typed callable.

    The docstring's first paragraph describes it, its `Args:` the parameters. Types are str, int, float, bool, dates and
    times, Literal, Optional, lists, dataclasses and pydantic models. Raises SpecError, with the reason, for a signature
    that a call could not state: no annotation, no docstring, `*args`, a type that has no JSON Schema, a wrong default.
    """
    if isinstance(call, Function):
        return call
    name = getattr(call, "__name__", "")
    if not callable(call) or not NAME.fullmatch(name):
        raise SpecError(f"{shown(name or call)}: a function needs a name of letters, digits and _, up to 64")
    text = inspect.getdoc(call)
    if not text:
        raise SpecError(f"{name}: no docstring; its first paragraph tells the model what the function does")
    try:
        hints = typing.get_type_hints(call, include_extras=True)
    except Exception as error:
        raise SpecError(f"{name}: its annotations cannot be read ({error})") from None
    parameters, said = list(inspect.signature(call).parameters.values()), _arguments(text)
    takes_state = bool(parameters) and parameters[0].name == STATE
    stated = parameters[1:] if takes_state else parameters
    made = tuple(_parameter(name, parameter, hints, said.get(parameter.name)) for parameter in stated)
    if unknown := set(said) - {parameter.name for parameter in parameters}:
        raise SpecError(f"{name}: its docstring describes '{sorted(unknown)[0]}', which is no parameter")
    examples = tuple(phrasings_of(text))
    return Function(name, " ".join(text.split("\n\n")[0].split()), made, call, takes_state, examples)


def functions_of(calls: Sequence[Callable[..., object]]) -> list[Function]:
    """The functions of callables. Raises SpecError as `function` does, and for two of one name."""
    made = [function(call) for call in calls]
    names = [each.name for each in made]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"two functions are named '{name}'")
    return made


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
    return Parameter(given.name, schema, adapter, required, default)


def _default(where: str, adapter: TypeAdapter[Any], value: object) -> object:
    """The default as a JSON value."""
    try:
        adapter.validate_python(value, strict=True)
        return adapter.dump_python(value, mode="json")
    except (ValidationError, ValueError) as error:
        raise SpecError(f"{where}: the default {shown(value)} is not of its own type; {_reason(error)}") from None


def _json(value: object) -> str:
    """Raises ValueError for what JSON does not have: numbers that are none, or infinite."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _may_be_null(schema: Schema) -> bool:
    return any(part.get("type") == "null" for part in schema.get("anyOf", ()))


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return brief(str(error))
    first = error.errors(include_url=False)[0]
    at = brief(".".join(str(part) for part in first["loc"]))
    return f"{at}: {first['msg']}" if at else first["msg"]


def phrasings_of(docstring: str) -> list[str]:
    """The phrasings of a docstring's `Examples:` section, one a line."""
    found = re.search(r"^Examples:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    lines = (line.strip().removeprefix("- ") for line in found[1].splitlines()) if found else ()
    return [line for line in lines if line]


def _arguments(docstring: str) -> dict[str, str]:
    """What a docstring's `Args:` says of each parameter."""
    found = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if found is None:
        return {}
    said: dict[str, str] = {}
    name, lines = "", found[1].expandtabs(4).splitlines()
    depth = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    for line in lines:
        head = re.match(rf" {{{depth}}}(\w+)(?: ?\([^)]*\))?: *(.*)", line)
        if head:
            name, said[head[1]] = head[1], head[2]
        elif name:
            said[name] = f"{said[name]} {line.strip()}".strip()
    return said
