"""Sets of functions: those that come with sepiola, by name, and those of a Python file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sepiola.acting import phone
from sepiola.acting.functions import functions_of
from sepiola.acting.phone import android
from sepiola.calling.functions import Function, as_taught, with_copied
from sepiola.calling.spans import is_span, strings
from sepiola.checkpoints.processor import FUNCTIONS, read_functions
from sepiola.data.example import Example
from sepiola.errors import SpecError, brief
from sepiola.specs.base import nearest

SETS: dict[str, Callable[[], list[Function]]] = {"phone": phone.functions, "android": android.functions}


def functions_named(name: str | Path) -> list[Function]:
    """The functions of a set, or of a Python file: what stands in it under `@sepiola.function`, in its order; or those
    that a model was taught, of its `functions.json` (`as_taught`).

    A Python file is run. Raises SpecError for another name, a file that cannot be run, and one without functions.
    """
    if str(name) in SETS:
        return SETS[str(name)]()
    path = Path(name)
    if path.name == FUNCTIONS and (known := read_functions(path.parent)) is not None:
        return as_taught(known)
    if path.suffix != ".py" or not path.is_file():
        raise SpecError(
            f"functions: '{brief(str(name))}' is no Python file that is there, and no set; {nearest(str(name), SETS)}"
        )
    # A name that no import has; dataclasses and pydantic look up the module there to read annotations that are texts.
    spec = importlib.util.spec_from_file_location(f"functions of {path.resolve()}", path)
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # whatever the user's own file raises
        del sys.modules[spec.name]
        if isinstance(error, SpecError) or not isinstance(error, Exception | SystemExit):
            raise
        raise SpecError(f"{path}: running it raised {type(error).__name__}: {brief(str(error))}") from None
    found = functions_of([value for value in vars(module).values() if isinstance(value, Function)])
    if not found:
        raise SpecError(f"{path}: no function; write @sepiola.function above each that the model may call")
    return found


def set_of(known: Sequence[Mapping[str, Any]] | None, given: Sequence[Callable[..., object]] = ()) -> list[Function]:
    """The functions that a model was taught: those `given`, and of sepiola's sets what it was taught besides.

    Raises SpecError where it was taught none, or others; and as `check_taught`.
    """
    if not known:
        raise SpecError("the model was taught no functions; name some: --functions FUNCTIONS.py, or --functions phone")
    named = {function.name: function for function in functions_of(given)}
    ours = {function.name: function for made in SETS.values() for function in made()}
    names = [str(entry["name"]) for entry in known if entry["name"] not in named]
    if missing := sorted(name for name in names if name not in ours):
        raise SpecError(
            f"the model was taught {', '.join(missing)[:80]} …, which are no functions of sepiola's: "
            "name the file that they stand in: --functions FUNCTIONS.py"
        )
    return check_taught(known, [*named.values(), *(ours[name] for name in names)])


def come_along(known: Sequence[Mapping[str, object]]) -> bool:
    """Whether all functions that a model was taught are of sepiola's sets: others stand in a file of their own."""
    return {str(entry["name"]) for entry in known} <= {function.name for made in SETS.values() for function in made()}


def taught(functions: Sequence[Function], examples: Iterable[Example] = ()) -> tuple[Mapping[str, object], ...]:
    """What is kept of the functions beside a model that calls them by their tokens, in this order.

    Among it are the arguments whose strings are copied: in all `examples` of text alone they are spans of the request.
    What a model was taught before keeps what it had.
    """
    copied = _copied(functions, examples)
    return tuple(
        {
            "name": f.name,
            "signature": f.signature,
            "tool": f.tool,
            "examples": list(f.examples),
            "copied": [p.name for p in f.parameters if ((f.name, p.name) in copied if p.copied is None else p.copied)],
        }
        for f in functions
    )


def _copied(functions: Sequence[Function], examples: Iterable[Example]) -> set[tuple[str, str]]:
    """Functions and arguments with open strings, all of which are spans of their requests."""
    seen, composed = set[tuple[str, str]](), set[tuple[str, str]]()
    schemas = {(f.name, p.name): p.schema for f in functions for p in f.parameters}
    for example in examples:
        if example.images:
            continue
        for call in example.metadata.get("calls") or ():
            for argument, value in (call["arguments"] or {}).items():
                key = (call["name"], argument)
                for string in strings(value, schemas.get(key, {})):
                    seen.add(key)
                    if key not in composed and not is_span(string, example.prompt):
                        composed.add(key)
    return seen - composed


def check_taught(known: Sequence[Mapping[str, Any]], functions: Sequence[Function]) -> list[Function]:
    """The given functions in the order of the model's tokens.

    Raises SpecError for one that the model was not taught, that is missing, or whose signature is another by now.
    """
    given = {function.name: function for function in functions}
    ordered = []
    for entry in known:
        name = str(entry["name"])
        if name not in given:
            raise SpecError(f"the model was taught '{brief(name)}', which is not among the functions given")
        if given[name].signature != entry["signature"]:
            raise SpecError(
                f"{name}: its signature is {given[name].signature}, and the model was taught {entry['signature']}: "
                "a call would not fit; teach it anew (sepiola act train), or give the function as it was"
            )
        ordered.append(with_copied(given.pop(name), entry.get("copied", ())))
    if given:
        raise SpecError(f"the model was not taught '{next(iter(given))}'; teach it (sepiola act add)")
    return ordered
