"""Constrained decoding: what may be written next is what a grammar allows, so that what is not allowed has probability
exactly zero.

A `Grammar` (llguidance's Lark, or a JSON Schema) is compiled once for a tokenizer and begun anew for each row
(`ConstrainedRow`). llguidance was chosen because it needs nothing beside it, compiles in milliseconds and knows
special tokens.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from .calls import FUNCTION
from .constrained_row import ConstrainedRow
from .drafts import Allowed
from .endings import OPENING, ending, likely, shortest_text
from .errors import SepiolaError, brief
from .schemas import Schema, check_schema, dated, parts_of, whole

QUICK = '}]",:0123456789.-etfna '
"""Characters that endings are made of, the likeliest first."""
LETTERS = r'[^"\\<\x00-\x1f\x7f-\x9f\u2028\u2029]'
"""Characters that no text has to quote or to guard: tokens of these alone are allowed or forbidden together."""
SLICES = [LETTERS + count for count in ("{1,10}", "{1,30}", "+")]
"""By which llguidance groups tokens: a mask of free text then takes a tenth of the time."""
MARKS = b'"{}[]:,'
"""What stands between the values of JSON."""
GOES_ON = re.compile(rb'[^"\\<\x00-\x1f\x7f]+')
"""Bytes of a token after which a text is still under way."""
KEPT = 64
"""Compiled grammars that a vocabulary keeps."""
GROWTH = 16
"""Tokens that one token adds to the shortest ending where it opens nothing new."""


class Tokenizer(Protocol):
    """What constraints ask of a tokenizer: its `tokenizer.json`, and texts with their special tokens."""

    def to_json(self) -> str: ...
    def special_ids(self) -> Collection[int]: ...
    def decode(self, ids: Sequence[int], *, special_tokens: bool = False) -> str: ...


class ConstraintVocabulary:
    """A tokenizer as constraints see it: `size` logits, of which `ends` end a text.

    Raises SepiolaError for a tokenizer whose tokens have no bytes that a grammar could read.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, ends: Sequence[int]) -> None:
        self.tokenizer = tokenizer
        self.size = size
        self._compiled: dict[tuple[str, str], Grammar] = {}
        self.ends = sorted(end for end in ends if 0 <= end < size)
        given = self.ends or [size]  # one more than there are: a text ends where the grammar does
        try:
            count = max(size, max(given) + 1)
            self.tokens = LLTokenizer(tokenizer.to_json(), n_vocab=count, eos_token=given, slices=SLICES)
        except Exception as error:  # the library raises ValueError, and panics of its own
            raise SepiolaError(f"a constraint cannot be laid on this tokenizer: {brief(str(error))}") from None

    def compiled(self, kind: Literal["lark", "json"], source: str | Mapping[str, object]) -> Grammar:
        """The grammar of a text in Lark, or of a JSON Schema; the last ones are kept."""
        if not isinstance(source, str):
            check_schema(source)
        key = source if isinstance(source, str) else json.dumps(source)
        if (kind, key) not in self._compiled:
            if len(self._compiled) >= KEPT:
                self._compiled.pop(next(iter(self._compiled)))
            made = Grammar.lark(self, source) if isinstance(source, str) else Grammar.json_schema(self, source)
            self._compiled[kind, key] = made
        return self._compiled[kind, key]

    def allowed(self, matcher: LLMatcher) -> Allowed:
        """Which tokens may follow by a grammar."""
        bits = np.zeros((self.tokens.vocab_size + 31) // 32, dtype=np.int32)  # its own: threads share a vocabulary
        matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        return np.unpackbits(bits.view(np.uint8), bitorder="little").view(np.bool_)

    def closing(self, allowed: Allowed) -> list[int]:
        """The special token, or the sign, by which what is open likeliest ends, if any may follow."""
        return next(([token] for token in (*self.stops, *self.quick) if allowed[token]), [])

    def tail(self, matcher: LLMatcher, tokens: Sequence[int]) -> list[int] | None:
        """The shortest of the last tokens that are a whole ending by a grammar; None where not even all of them are."""
        if matcher.is_accepting():
            return []
        end = self.ends[0] if self.ends else self.size
        for start in range(len(tokens) - 1, -1, -1):
            if matcher.validate_tokens([*tokens[start:], end]) > len(tokens) - start:
                return list(tokens[start:])
        return None

    @cached_property
    def _special(self) -> list[int]:
        """Special tokens that end no text, the last first, and then those that begin a call, the first first."""
        found = sorted({*self.tokenizer.special_ids()} - {*self.ends}, reverse=True)
        opening = [token for token in found if FUNCTION.fullmatch(self.tokenizer.decode([token], special_tokens=True))]
        return [*(token for token in found if token not in opening), *reversed(opening)]

    @cached_property
    def stops(self) -> list[int]:
        """Tokens that end a string."""
        return [*self._special, *self._singles('"')]

    @cached_property
    def quick(self) -> list[int]:
        """Tokens that endings are made of, the likeliest first."""
        return [*self._special, *self._singles(QUICK)]

    @cached_property
    def letters(self) -> list[int]:
        """Tokens of one printable ASCII character, of each kind that formats tell apart."""
        return self._singles(f"0aAfTZ {string.punctuation}")

    def _singles(self, characters: str) -> list[int]:
        found = [self.tokens.greedy_tokenize(character) for character in characters]
        return [ids[0] for ids in found if len(ids) == 1]

    @cached_property
    def _bytes(self) -> list[bytes]:
        """What each token says; nothing for an id that is none."""
        return [self.tokens.decode_bytes([token]) for token in range(self.tokens.vocab_size)]

    @cached_property
    def lengths(self) -> np.ndarray[Any, Any]:
        """Bytes of each token."""
        return np.array([len(said) for said in self._bytes])

    @cached_property
    def opening(self) -> list[bool]:
        """Whether a token ends with what opens something new."""
        return [said[-1:] in OPENING if said else False for said in self._bytes]

    @cached_property
    def goes_on(self) -> list[bool]:
        """Whether a text goes on after a token."""
        return [GOES_ON.fullmatch(said) is not None for said in self._bytes]

    def text_after(self, text: int | None, tokens: Sequence[int]) -> int | None:
        """Tokens of the text under way after `text` of them and these; None where it is over."""
        return None if text is None or not all(self.goes_on[token] for token in tokens) else text + len(tokens)

    @cached_property
    def closers(self) -> np.ndarray[Any, Any]:
        """Tokens that close a string and more, the longest first."""
        found = [n for n, said in enumerate(self._bytes) if said[:1] == b'"' and said[1:] and not said.strip(MARKS)]
        return np.array(sorted(found, key=lambda token: -self.lengths[token]), dtype=np.int64)


class Grammar:
    """A compiled grammar. Raises SepiolaError for one that does not compile, and never begins one that did not.

    `growth` is how many tokens one more token may add to the shortest ending: by default what the longest ending after
    a first token has. `shortest` is the shortest text, where it is known.
    """

    def __init__(
        self,
        vocabulary: ConstraintVocabulary,
        source: str,
        growth: int | None = None,
        shortest: Sequence[int] | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self._matcher = LLMatcher(vocabulary.tokens, source, log_level=0)
        if self._matcher.is_error():
            raise SepiolaError(f"the constraint does not compile: {brief(self._matcher.get_error())}")
        found = shortest_text(self._matcher, vocabulary) if shortest is None else list(shortest)
        if found is None:
            raise SepiolaError("the constraint allows no text at all")
        self.shortest = found
        self._growth = growth or self._longest_opening() + GROWTH

    def _longest_opening(self) -> int:
        """Tokens of the longest ending after any first token."""
        endings = []
        for token in likely(self._matcher.compute_bitmask(), self.vocabulary):
            state = self._matcher.deep_copy()
            if state.consume_token(token):
                endings.append(ending(state, self.vocabulary) or [])
        return max(map(len, endings), default=0)

    def narrowed(self, text: str, growth: int) -> Grammar:
        """A grammar in Lark that allows less than this one does, but its shortest text: it is ready sooner. A token may
        add `growth` more to the shortest ending.
        """
        return Grammar(self.vocabulary, LLMatcher.grammar_from_lark(text), self._growth + growth, self.shortest)

    @classmethod
    def lark(cls, vocabulary: ConstraintVocabulary, text: str) -> Grammar:
        """A grammar in llguidance's Lark, in which `<name>` is a special token."""
        return cls(vocabulary, LLMatcher.grammar_from_lark(text))

    @classmethod
    def json_schema(cls, vocabulary: ConstraintVocabulary, schema: Schema) -> Grammar:
        """JSON that fits the schema, written without spaces.

        Raises SepiolaError, with the path, for a keyword that is not supported, and for a part that nothing fits.
        """
        source = _json_grammar(schema)
        growth = GROWTH + len(source) // 2  # what is required is written out in the schema
        try:
            return cls(vocabulary, source, growth, _shortest_whole(schema, vocabulary))
        except SepiolaError:
            if fault := _fault(source, vocabulary):
                raise SepiolaError(f"the constraint does not compile: {_placed(schema, fault, vocabulary)}") from None
            if sought := [path for path, part in parts_of(schema) if isinstance(part, Mapping) and "pattern" in part]:
                said = f"{sought[0]}/pattern: no text was found that fits; say all of it, as ^[a-z]{{2}}$"
                raise SepiolaError(said) from None
            raise

    def text(self, tokens: Sequence[int]) -> str:
        """What was written under the grammar, special tokens and all."""
        return self.vocabulary.tokenizer.decode(tokens, special_tokens=True)

    def begin(self, budget: int, prompt: Sequence[int] = ()) -> ConstrainedRow:
        """A row of `budget` tokens at most after a `prompt`. Raises SepiolaError where the shortest legal text is
        longer.
        """
        if len(self.shortest) > budget:
            raise SepiolaError(
                f"the shortest text known that the constraint allows has {len(self.shortest)} tokens, and {budget} "
                "may be written: raise max_tokens"
            )
        return ConstrainedRow(self._matcher.deep_copy(), self.vocabulary, budget, self.shortest, self._growth, prompt)


ONE_OF = "oneOf is not supported where a value may fit two of its schemas: write anyOf"


def _json_grammar(schema: object) -> str:
    compact: Any = {"whitespace_flexible": False}
    return LLMatcher.grammar_from_json_schema(json.dumps(dated(schema)), overrides=compact)


def _shortest_whole(schema: Schema, vocabulary: ConstraintVocabulary) -> Sequence[int] | None:
    """The shortest text of a schema in which patterns that may stand anywhere are whole texts: it is a legal one, which
    no search for a word would find. None where no pattern may, and where there is no such text.
    """
    if all(_is_whole(part) for _, part in parts_of(schema)):
        return None
    narrow, source = LLMatcher(vocabulary.tokens, _json_grammar(whole(schema)), log_level=0), _json_grammar(schema)
    found = None if narrow.is_error() else shortest_text(narrow, vocabulary)
    if found is None:
        return None
    matcher = LLMatcher(vocabulary.tokens, source, log_level=0)
    legal = not matcher.is_error() and matcher.consume_tokens(found) and matcher.is_accepting()
    return found if legal else None


def _is_whole(part: object) -> bool:
    pattern = part.get("pattern") if isinstance(part, Mapping) else None
    return not isinstance(pattern, str) or re.fullmatch(r"\^(?!\.\*).*(?<!\.\*)\$", pattern) is not None


def _fault(source: str, vocabulary: ConstraintVocabulary) -> str:
    """Why a grammar does not compile; empty where it does."""
    matcher = LLMatcher(vocabulary.tokens, source, log_level=0)
    said = str(matcher.get_error()) if matcher.is_error() else ""
    return ONE_OF if said.startswith("oneOf constraints are not supported") else said


def _placed(schema: Schema, fault: str, vocabulary: ConstraintVocabulary) -> str:
    """The fault of the innermost part that does not compile on its own, with its path."""
    path, named = "#", {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    for place, part in parts_of(schema):
        own = isinstance(part, Mapping) and _fault(_json_grammar({**named, **part}), vocabulary)
        if own and place.startswith(path):
            path, fault = place, own
    return f"{path}: {brief(fault)}"
