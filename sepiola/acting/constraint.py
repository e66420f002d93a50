"""What may be asked of `generate` beside a prompt: a JSON Schema, or functions one of whose calls is to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sepiola.acting.calls import json_form, lark, tokens_of
from sepiola.acting.functions import Function, functions_of
from sepiola.errors import SpecError, shown
from sepiola.generation.constraints import ConstraintVocabulary, Grammar

Constraint = Mapping[str, object] | bool | Sequence[Callable[..., object]]


def grammar_of(constraint: Constraint, vocabulary: ConstraintVocabulary) -> Grammar:
    """The constraint's grammar. Functions are called by their tokens where the tokenizer has them, and else as JSON.

    Raises SpecError for what is neither a schema nor a list of functions, and for a schema that is not supported.
    """
    if isinstance(constraint, Mapping | bool):
        return vocabulary.compiled("json", constraint if isinstance(constraint, Mapping) else {})
    if not isinstance(constraint, list | tuple) or not constraint:
        raise SpecError(f"a constraint is a JSON Schema or a list of functions; got {shown(constraint)}")
    functions = functions_of(constraint)
    if functional(functions, vocabulary):
        return vocabulary.compiled("lark", lark(functions))
    return vocabulary.compiled("json", json_form(functions))


def functional(functions: Sequence[Function], vocabulary: ConstraintVocabulary) -> bool:
    """Whether the tokenizer has a token for each of the functions."""
    return all(vocabulary.tokenizer.id_of(token) is not None for token in tokens_of(len(functions)))
