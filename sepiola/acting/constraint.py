"""What may be asked beside a prompt: of `generate` a JSON Schema, or functions one of whose calls is to be written; of
`chat` the tools that a conversation declares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from sepiola.acting.functions import function, functions_of
from sepiola.calling.calls import json_form
from sepiola.calling.constraints import ConstraintVocabulary, Grammar
from sepiola.calling.functional import functional
from sepiola.errors import SpecError, brief, shown
from sepiola.specs.base import Plain

Constraint = Mapping[str, object] | Sequence[Callable[..., object]]
Tool = Mapping[str, object] | Callable[..., object]


def grammar_of(
    constraint: Constraint, vocabulary: ConstraintVocabulary, known: Sequence[Mapping[str, object]] | None = None
) -> Grammar:
    """The constraint's grammar. Functions are called by their tokens where they are all that a model was taught
    (`known`), by name and signature, and else as JSON: another function's token would mean another call.

    Raises SpecError for what is neither a schema nor a list of functions, and for a schema that is not supported.
    """
    if isinstance(constraint, Mapping):
        return vocabulary.compiled("json", constraint)
    if not isinstance(constraint, list | tuple) or not constraint:
        raise SpecError(f"a constraint is a JSON Schema or a list of functions; got {shown(constraint)}")
    functions = {function.name: function for function in functions_of(constraint)}
    given = {name: function.signature for name, function in functions.items()}
    if known is not None and given == {str(entry["name"]): entry["signature"] for entry in known}:
        return functional([functions[str(entry["name"])] for entry in known], vocabulary)
    return vocabulary.compiled("json", json_form([*functions.values()]))


def tools_of(tools: object) -> list[Plain]:
    """What a conversation declares, as OpenAI's `tools` list it: such dicts as they are, and the tools of callables.

    Raises SpecError as `function` does, and for what is neither, or no JSON.
    """
    if tools is not None and not isinstance(tools, list | tuple):
        raise SpecError(f"tools: got {shown(tools)}; expected a list of functions, or of OpenAI's tools")
    return [_tool(each) if isinstance(each, Mapping) else function(each).tool for each in tools or ()]


def _tool(tool: Mapping[str, object]) -> Plain:
    described = tool.get("function", tool)
    if not isinstance(described, Mapping) or not isinstance(described.get("name"), str) or not described["name"]:
        raise SpecError(
            "a tool is {'type': 'function', 'function': {'name': …, 'description': …, 'parameters': {…}}}; "
            f"got {shown(tool)}"
        )
    try:
        read: Plain = json.loads(json.dumps(tool, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"the tool {shown(described['name'])} is no JSON ({brief(str(error))})") from None
    return read
