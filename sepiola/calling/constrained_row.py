"""One text under way under a grammar: which tokens may follow, those that are forced or guessed to, and an ending that
fits what is left of its budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from .drafts import DRAFT, Allowed, Draft, PromptLookup, draft
from .endings import AT_ONCE, ending, likely, shortest_text
from .errors import SepiolaError

if TYPE_CHECKING:
    from .constraints import ConstraintVocabulary

SPARSE = 64
"""Where fewer than one token in so many may follow, their logits are computed alone; where more may, a text begins."""
LETTER = 6
"""Tokens that a letter of several bytes, or one that is written as \\u0000, takes at most to be whole."""
MISSES = 4
"""Guesses in a row that may come to nothing before there is a pause."""


class ConstrainedRow:
    """One text under way. `written` are its tokens, without an end token."""

    def __init__(
        self,
        matcher: LLMatcher,
        vocabulary: ConstraintVocabulary,
        budget: int,
        closing: Sequence[int],
        growth: int,
        prompt: Sequence[int] = (),
    ) -> None:
        self.vocabulary = vocabulary
        self.budget = budget
        self.written: list[int] = []
        self._matcher = matcher
        self._growth = growth
        self._ending: list[int] | None = list(closing)  # a legal ending from here, where one is known
        self._first, self._last = closing, list(closing)  # the first and the last that was known
        self._known = len(closing)  # there is one of at most so many tokens
        self._least = True  # no shorter ending was found when it was looked for
        self._prompt = prompt
        self._following: Allowed | None = None  # which tokens may follow, where that is known
        self._text: int | None = None  # tokens of a text under way, which all but a few may follow
        self._missed = 0  # guesses in a row that came to nothing
        self._pause = 0  # how many tokens there must be before the next guess

    @property
    def done(self) -> bool:
        """Whether nothing may follow any more."""
        return len(self.written) >= self.budget or self._matcher.is_stopped()

    def mask(self) -> NDArray[np.bool_]:
        """Which tokens may follow, `(vocabulary,)`."""
        return self.allowed()[: self.vocabulary.size]

    def allowed(self) -> Allowed:
        """Which tokens may follow; there may be more of them than the model has."""
        if self._following is None:
            self._following = self.vocabulary.allowed(self._matcher)
            wide = int(np.count_nonzero(self._following)) * SPARSE > self.vocabulary.size
            self._text = (self._text or 0) if wide else None
        return self._following

    def following(self) -> Allowed | None:
        """Which tokens may follow. None within a text, after whose first token all but a few may: then it takes a
        fiftieth of the time to ask of the one that is drawn whether it `may`.
        """
        return self.allowed() if not self._text else self._following

    def may(self, token: int) -> bool:
        """Whether a token may follow."""
        known = self._following
        return bool(self._matcher.validate_tokens([token]) if known is None else known[token])

    def draft(self, *, asks: bool = False) -> Draft:
        """What may well follow. With `asks`, what is allowed is left out where it is not known (`following`)."""
        allowed = self.following() if asks else self.allowed()
        if len(self.written) < self._pause:
            return Draft([], {0: allowed})
        most, closing = min(DRAFT, self.budget - len(self.written) - 1), (self._ending or self._last) if asks else None
        return draft(self._matcher, self.vocabulary, self._lookup, self.written, allowed, most, self._text, closing)

    def guessed(self, right: int) -> None:
        """How many tokens of a guess came true: after `MISSES` of which none did, there is none for ever longer, until
        what is open ends.
        """
        self._missed = 0 if right else self._missed + 1
        pause = 2 ** (self._missed - MISSES + 1) if self._missed >= MISSES else 0
        self._pause = len(self.written) + pause

    @cached_property
    def _lookup(self) -> PromptLookup:
        return PromptLookup(self._prompt, self.vocabulary)

    def accept(self, token: int) -> bool:
        """Takes in the next token, unless what remains of the budget then holds no legal ending; says whether it did.

        An end token ends the row.
        """
        if token in self.vocabulary.ends and self._matcher.is_accepting():
            self._following = None
            self._matcher.consume_token(token)
            return True
        return self._take(token, self._growth)

    def _take(self, token: int, growth: int) -> bool:
        """Takes in a token that adds at most `growth` to the shortest ending, where one then fits the budget."""
        left = self.budget - len(self.written) - 1
        follows = self._ending is not None and self._ending[:1] == [token]
        tight = not follows and self._known + growth > left
        if tight:
            self._seek(left)
        if not self._matcher.consume_token(token):
            raise SepiolaError(f"token {token} does not follow by the constraint")  # the mask forbids it
        if follows:
            self._ending, self._known = (self._ending or [])[1:], self._known - 1
        elif not tight:
            self._last = self._ending or self._last
            self._ending, self._known = None, self._known + growth
        elif not self._closed(left):
            self._matcher.rollback(1)
            return False
        if token in self.vocabulary.stops:
            self._missed = self._pause = 0
        self._following, self._text = None, self.vocabulary.text_after(self._text, [token])
        self.written.append(token)
        return True

    def _seek(self, left: int) -> None:
        """Knows an ending of what is written, where one is found, before a token takes one of those that are left: the
        shortest, where none of them would be left over.
        """
        if self._ending is None:
            self._ending, self._least = self._tail(self._last), False
        if self._ending is None:
            self._ending = ending(self._matcher, self.vocabulary, left + 1)
        if self._ending is not None and len(self._ending) > left and not self._least:
            found = shortest_text(self._matcher, self.vocabulary, left + 1, AT_ONCE)
            self._ending, self._least = self._ending if found is None else found, True

    def _tail(self, known: Sequence[int]) -> list[int] | None:
        """The shortest end of a known ending, or of the first one, that ends what is written, once the letter under way
        is whole: a word that was begun and not gone on with is begun anew.
        """
        state, letter = self._matcher.deep_copy(), list[int]()
        while len(letter) < LETTER:
            for whole in (known, self._first):
                if (found := self.vocabulary.tail(state, whole)) is not None:
                    return letter + found
            following = likely(state.compute_bitmask(), self.vocabulary)[:1]
            if not following or not state.consume_tokens(following):
                return None
            letter += following
        return None

    def _closed(self, left: int) -> bool:
        """Whether an ending of at most `left` tokens follows on the token that was just taken in, and which.

        Mostly it is the one before, or the rest of that: a letter changes nothing of how its text ends. Where this is
        too long it was the shortest, and the token has begun no other.
        """
        found, least = self._tail(self._last if self._ending is None else self._ending), self._least
        if found is None:
            found, least = ending(self._matcher, self.vocabulary, left), False
        if found is None or len(found) > left:
            return False
        self._ending, self._known, self._least = found, len(found), least
        return True

    def forced(self) -> list[int]:
        """Takes in the tokens that must come next, if any, and gives them: they need no forward pass of their own."""
        begin = len(self.written)
        while not self.done:
            following = self._matcher.compute_ff_tokens() or self._single()
            if not following or not all(self.done or self._take(token, 0) for token in following):
                break
        return self.written[begin:]

    def _single(self) -> list[int]:
        """The one token that may follow, where it is one; within a text it is not looked for."""
        allowed = self.following()
        if allowed is None or np.count_nonzero(allowed) != 1:
            return []
        token = int(allowed.argmax())
        return [] if token in self.vocabulary.ends else [token]

    def shortest(self) -> int:
        """The next token of a legal ending. Raises SepiolaError where none fits what is left of the budget."""
        if not self._ending:
            left = self.budget - len(self.written)
            found = ending(self._matcher, self.vocabulary, left)
            found = found or shortest_text(self._matcher, self.vocabulary, left)
            if not found:
                raise SepiolaError(f"no legal ending of {left} tokens was found; raise max_tokens above {self.budget}")
            self._ending, self._known, self._least = found, len(found), False
        return self._ending[0]
