"""Functions that a model can call: their arguments as bounded JSON Schemas, their signature, and calls of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .bounds import bounded
from .errors import CallError, SpecError, brief, nearest, shown
from .schemas import Schema, check_schema, parts_of

Plain = dict[str, Any]
"""Plain data of JSON by its keys."""


def _any(value: object) -> object:
    """A JSON value as it is. Raises ValueError for what JSON does not have: numbers that are none, or infinite."""
    json.dumps(value, allow_nan=False)
    return value


@dataclass(frozen=True)
class Parameter:
    """One argument of a call. `schema` is bounded: every string, list and number of it ends.

    `copied`: a model was taught that its open strings are the request's own words (`calling.spans`), or that they may
    be others; None where it was taught neither. `read` makes the Python value of a JSON value, or raises ValueError.
    """

    name: str
    schema: Schema
    required: bool = True
    default: object = None
    copied: bool | None = field(default=None, compare=False)
    read: Callable[[object], object] = field(default=_any, repr=False, compare=False)

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
                values[name] = parameter.read(value)
            except (ValueError, TypeError, RecursionError) as error:
                raise CallError(f"{self.name}: {name}: got {shown(value)}; {brief(str(error))}") from None
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


def declared(tools: Sequence[Plain]) -> list[Function]:
    """Functions as OpenAI's `tools` list them. They can be written and read, and not run.

    Raises SpecError, with the path, for a schema that no constraint supports.
    """
    return [_declared(tool["function"]) for tool in tools]


def _declared(described: Plain) -> Function:
    name, schema = str(described["name"]), described.get("parameters") or {}
    required = schema.get("required") or ()
    parameters = tuple(
        Parameter(key, _ended(f"{name}({key})", part), key in required, part.get("default"))
        for key, part in (schema.get("properties") or {}).items()
    )
    return Function(name, str(described.get("description") or ""), parameters, _not_here)


def _ended(where: str, schema: Schema) -> Schema:
    """The schema with bounds; a part that may be anything stays so, and a text of an unknown format is any text."""
    try:
        check_schema(schema)
        for path, part in parts_of(schema):
            if isinstance(part, bool) and not path.endswith("/additionalProperties"):
                raise SpecError(f"{path}: got {part}, which says nothing of a value; name its type")
    except SpecError as error:
        raise SpecError(f"{brief(where)}: {error}") from None
    for part in (schema, {key: value for key, value in schema.items() if key != "format"}):
        try:
            return bounded(part)
        except SpecError:
            continue
    return schema


def _not_here(*arguments: object, **keywords: object) -> object:
    raise SpecError("the function itself is not here, but its declaration alone: name the file that it stands in")


def as_taught(known: Sequence[Mapping[str, Any]]) -> list[Function]:
    """The functions that a model was taught, as they are kept beside it: they can be written and read, and not run.

    Raises SpecError for one whose arguments have no end.
    """
    made = declared([entry["tool"] for entry in known])
    for each in made:
        for parameter in each.parameters:
            bounded(parameter.schema)
    with_examples = [replace(f, examples=tuple(e.get("examples", ()))) for f, e in zip(made, known, strict=True)]
    return [with_copied(f, entry.get("copied", ())) for f, entry in zip(with_examples, known, strict=True)]


def with_copied(function: Function, names: Collection[str]) -> Function:
    """The function, of whose arguments those of these names are copied."""
    parameters = tuple(replace(parameter, copied=parameter.name in names) for parameter in function.parameters)
    return replace(function, parameters=parameters)
