"""What may well follow in a text under a grammar, guessed, so that one forward pass reads several tokens at once.

Arguments are mostly copied from the request: what stands there after the words just written is the guess (prompt lookup
decoding), of a text that was not copied so far no more tokens than were found there; and where nothing is found, that
what is open ends, a text where it is as long as most are. The grammar allows every guess. A guess changes nothing but
the time: it is kept as far as the model itself draws it (speculative decoding, arXiv 2211.17192).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .constraints import ConstraintVocabulary

Allowed = NDArray[np.bool_]
"""Which tokens of a vocabulary may follow."""
DRAFT = 8
"""Tokens of a guess at most."""
READ = 512
"""So many of the prompt's last tokens are looked through."""
BEFORE = 8
"""So many tokens that were written are looked for, or fewer."""
ENDS = range(3, 9)
"""Tokens after which a text is guessed to end: of the phone's arguments that are so long a third do, and hardly any
that is shorter."""


class Draft(NamedTuple):
    """Tokens that are guessed to follow; and by place, where one is drawn and after the last, what may follow: None
    within a text, see `ConstrainedRow.following`.
    """

    tokens: list[int]
    allowed: dict[int, Allowed | None]


class Found(NamedTuple):
    """Which of the prompt's tokens comes next, after how many that were written stand before it."""

    place: int
    matched: int


class PromptLookup:
    """Where in a prompt the text goes on that was written last."""

    def __init__(self, prompt: Sequence[int], vocabulary: ConstraintVocabulary) -> None:
        self.tokens = [int(token) for token in prompt[-READ:]]
        self._bytes = vocabulary.tokens.decode_bytes
        self._text, self._after = b"", {}
        for place, token in enumerate(self.tokens, start=1):
            self._text += self._bytes([token])
            self._after[len(self._text)] = place

    def place(self, written: Sequence[int]) -> Found | None:
        """Where most of the last tokens stand; None where none of them does.

        They are compared as text: a word may be one token after a space and another without.
        """
        for count in range(min(BEFORE, len(written)), 0, -1):
            said = self._bytes(list(written[-count:]))
            begin = self._text.find(said)
            while begin >= 0:
                place = self._after.get(begin + len(said))
                if place is not None and place < len(self.tokens):
                    return Found(place, count)
                begin = self._text.find(said, begin + 1)
        return None


def draft(
    matcher: LLMatcher,
    vocabulary: ConstraintVocabulary,
    lookup: PromptLookup,
    written: Sequence[int],
    allowed: Allowed | None,
    most: int,
    text: int | None = None,
    closing: Sequence[int] | None = None,
) -> Draft:
    """A guess of at most `most` tokens after those `written`; see `ConstrainedRow`: `allowed` may follow them, where
    that is known, and a text is `text` tokens long, None where there is none. Given an ending `closing` that there was,
    what may follow within a text is not looked for.
    """
    state, tokens, places, found = matcher.deep_copy(), list[int](), {0: allowed}, lookup.place(written)
    begun = min(text or 0, BEFORE)
    while len(tokens) < most:
        following = state.compute_ff_tokens() if tokens else []
        if following:
            found = None
        else:
            found = lookup.place([*written, *tokens]) if found is None and tokens else found
            copied = lookup.tokens[found.place : found.place + 1] if found else []
            if found and copied and _may(state, allowed, copied[0]):
                if begun > found.matched <= len(tokens):
                    break
                following, found = copied, found._replace(place=found.place + 1)
            elif text is None or text in ENDS:
                ends = vocabulary.tail(state, closing or []) if allowed is None else None
                if not ends:
                    ends = vocabulary.closing(vocabulary.allowed(state) if allowed is None else allowed)
                following, found = ends[:1], None
        following = following[: most - len(tokens)]
        if not following or following[0] in vocabulary.ends or not state.consume_tokens(following):
            break
        tokens += following
        if state.is_stopped():
            break
        text = vocabulary.text_after(text, following)
        allowed = places[len(tokens)] = None if closing is not None and text else vocabulary.allowed(state)
    return Draft(tokens, places)


def _may(state: LLMatcher, allowed: Allowed | None, token: int) -> bool:
    return bool(state.validate_tokens([token]) if allowed is None else allowed[token])
