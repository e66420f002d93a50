"""What may well follow in a text under a grammar, guessed, so that one forward pass reads several tokens at once.

Arguments are mostly copied from the request: what stands there after the words just written is the guess (prompt lookup
decoding), and where nothing does, that what is open ends. The grammar allows every guess. A guess changes nothing but
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


class Draft(NamedTuple):
    """Tokens that are guessed to follow; and by place, where one is drawn and after the last, what may follow."""

    tokens: list[int]
    allowed: dict[int, Allowed]


class PromptLookup:
    """Where in a prompt the text goes on that was written last."""

    def __init__(self, prompt: Sequence[int], vocabulary: ConstraintVocabulary) -> None:
        self.tokens = [int(token) for token in prompt[-READ:]]
        self._bytes = vocabulary.tokens.decode_bytes
        self._text, self._after = b"", {}
        for place, token in enumerate(self.tokens, start=1):
            self._text += self._bytes([token])
            self._after[len(self._text)] = place

    def place(self, written: Sequence[int]) -> int | None:
        """Which of the prompt's tokens follows where most of the last tokens stand; None where none of them does.

        They are compared as text: a word may be one token after a space and another without.
        """
        for count in range(min(BEFORE, len(written)), 0, -1):
            said = self._bytes(list(written[-count:]))
            begin = self._text.find(said)
            while begin >= 0:
                place = self._after.get(begin + len(said))
                if place is not None and place < len(self.tokens):
                    return place
                begin = self._text.find(said, begin + 1)
        return None


def draft(
    matcher: LLMatcher,
    vocabulary: ConstraintVocabulary,
    lookup: PromptLookup,
    written: Sequence[int],
    allowed: Allowed,
    most: int,
) -> Draft:
    """A guess of at most `most` tokens after those `written`; `allowed` may follow them."""
    state, tokens, places, copied = matcher.deep_copy(), list[int](), {0: allowed}, lookup.place(written)
    while len(tokens) < most:
        following = state.compute_ff_tokens() if tokens else []
        if not following:
            if copied is None and tokens:
                copied = lookup.place([*written, *tokens])
            if copied is not None and copied < len(lookup.tokens) and allowed[lookup.tokens[copied]]:
                following, copied = [lookup.tokens[copied]], copied + 1
            else:
                following, copied = vocabulary.closing(allowed), None
        else:
            copied = None
        following = following[: most - len(tokens)]
        if not following or following[0] in vocabulary.ends or not state.consume_tokens(following):
            break
        tokens += following
        if state.is_stopped():
            break
        allowed = places[len(tokens)] = vocabulary.allowed(state)
    return Draft(tokens, places)
