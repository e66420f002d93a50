"""The ways in which a model calls functions, by what it was taught (`Processor.functions`).

*Functional*: tokens of functions that it knows, nothing declared. *Declared*: functions that stand in the prompt,
called by number where the model was taught to (`sepiola.acting.declaring`), and else written as JSON.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from sepiola.acting.declaring import NUMBERS, declaration
from sepiola.calling import calls
from sepiola.calling.constraints import ConstraintVocabulary, Grammar
from sepiola.calling.functional import functional
from sepiola.calling.functions import Call, Function
from sepiola.errors import SpecError


class Mode(Protocol):
    """A way of calling. `functions` are all that a model knows, or that a prompt declares; `allowed` are names, all by
    default.
    """

    @property
    def name(self) -> str: ...

    @property
    def special_tokens(self) -> bool:
        """Whether calls are made of special tokens."""

    @property
    def declares(self) -> bool:
        """Whether the model knows no functions but those that stand before a request."""

    def declaration(self, functions: Sequence[Function], allowed: Sequence[str] | None = None) -> str:
        """What stands before a request."""

    def grammar(
        self,
        vocabulary: ConstraintVocabulary,
        functions: Sequence[Function],
        allowed: Sequence[str] | None = None,
        said: str | None = None,
        *,
        one_call: bool = False,
        denied: Sequence[str] = (),
    ) -> Grammar:
        """All that may be written. Where it is given what is `said`, copied arguments are spans of it. With `one_call`
        it is one call, where any may be made, and neither none nor several. Taught functions that are `denied` may be
        named, and not called.
        """

    def read(
        self,
        text: str,
        functions: Sequence[Function],
        allowed: Sequence[str] | None = None,
        today: datetime.date | None = None,
    ) -> list[Call]:
        """The calls of a text, whose days may count from `today`. Raises CallError for one that is none or
        is not allowed.
        """


class Functional:
    """By the functions' own tokens."""

    name = "functional"
    special_tokens = True
    declares = False

    def declaration(self, functions: Sequence[Function], allowed: Sequence[str] | None = None) -> str:
        return ""

    def grammar(
        self,
        vocabulary: ConstraintVocabulary,
        functions: Sequence[Function],
        allowed: Sequence[str] | None = None,
        said: str | None = None,
        *,
        one_call: bool = False,
        denied: Sequence[str] = (),
    ) -> Grammar:
        return functional(functions, vocabulary, allowed, said, one_call=one_call, denied=denied)

    def read(
        self,
        text: str,
        functions: Sequence[Function],
        allowed: Sequence[str] | None = None,
        today: datetime.date | None = None,
    ) -> list[Call]:
        return calls.read(text, functions, today, allowed)


class Numbered:
    """By the numbers of the lines that declare them."""

    name = "declared, by number"
    special_tokens = True
    declares = True

    def declaration(self, functions: Sequence[Function], allowed: Sequence[str] | None = None) -> str:
        return declaration(self._lines(functions, allowed)) + "\n"

    def grammar(
        self,
        vocabulary: ConstraintVocabulary,
        functions: Sequence[Function],
        allowed: Sequence[str] | None = None,
        said: str | None = None,
        *,
        one_call: bool = False,
        denied: Sequence[str] = (),
    ) -> Grammar:
        return functional(self._lines(functions, allowed), vocabulary, said=said, one_call=one_call)

    def read(
        self,
        text: str,
        functions: Sequence[Function],
        allowed: Sequence[str] | None = None,
        today: datetime.date | None = None,
    ) -> list[Call]:
        return calls.read(text, self._lines(functions, allowed), today)

    def _lines(self, functions: Sequence[Function], allowed: Sequence[str] | None) -> list[Function]:
        lines = _among(functions, allowed)
        if len(lines) > NUMBERS:
            raise SpecError(
                f"{len(lines)} functions may be called, and this model tells {NUMBERS} apart: allow fewer, or let a "
                "retriever choose some"
            )
        return lines


class AsJson:
    """By name, as a JSON list."""

    name = "declared"
    special_tokens = False
    declares = True

    def declaration(self, functions: Sequence[Function], allowed: Sequence[str] | None = None) -> str:
        tools = [function.tool["function"] for function in _among(functions, allowed)]
        return json.dumps(tools, ensure_ascii=False) + "\n"

    def grammar(
        self,
        vocabulary: ConstraintVocabulary,
        functions: Sequence[Function],
        allowed: Sequence[str] | None = None,
        said: str | None = None,
        *,
        one_call: bool = False,
        denied: Sequence[str] = (),
    ) -> Grammar:
        return vocabulary.compiled("json", calls.json_form(functions, allowed, one_call=one_call))

    def read(
        self,
        text: str,
        functions: Sequence[Function],
        allowed: Sequence[str] | None = None,
        today: datetime.date | None = None,
    ) -> list[Call]:
        return calls.read_json(text, functions, allowed)


def mode_of(known: Sequence[Mapping[str, object]] | None) -> Mode:
    """How a model calls, by the functions that it was taught: none of its own (an empty list) are called by number."""
    if known is None:
        return AsJson()
    return Functional() if known else Numbered()


def _among(functions: Sequence[Function], allowed: Sequence[str] | None) -> list[Function]:
    return [function for function in functions if allowed is None or function.name in allowed]
