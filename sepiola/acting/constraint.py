"""What may be asked of `generate` beside a prompt: a JSON Schema, or functions one of whose calls is to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sepiola.acting.functions import functions_of
from sepiola.calling.calls import json_form
from sepiola.calling.constraints import ConstraintVocabulary, Grammar
from sepiola.calling.functional import functional
from sepiola.errors import SpecError, shown

Constraint = Mapping[str, object] | Sequence[Callable[..., object]]


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
