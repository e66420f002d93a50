"""What may be asked of `generate` beside a prompt: a JSON Schema, or functions one of whose calls is to be written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from sepiola.acting.calls import json_form, lark
from sepiola.acting.functions import Function, functions_of
from sepiola.acting.spans import words
from sepiola.errors import SepiolaError, SpecError, shown
from sepiola.generation.constraints import ConstraintVocabulary, Grammar

log = logging.getLogger(__name__)

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


def functional(
    functions: Sequence[Function],
    vocabulary: ConstraintVocabulary,
    allowed: Sequence[str] | None = None,
    said: str | None = None,
) -> Grammar:
    """The grammar of calls in functional tokens; see `sepiola.acting.calls.lark`. Where a request is so long that its
    spans make no grammar, copied arguments may be any text, which is said.
    """
    whole = vocabulary.compiled("lark", lark(functions, allowed))
    if said is None or not any(parameter.copied for f in functions for parameter in f.parameters):
        return whole
    longest = max((len(word.encode()) for word in words(said)), default=0)  # what has begun a word must end it
    try:
        return whole.narrowed(lark(functions, allowed, said), longest)
    except SepiolaError:
        log.warning("the request of %d characters is too long to hold arguments to its words", len(said))
        return whole
