"""How a text under a grammar ends: the shortest text of it all, and a short ending from any state."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher

if TYPE_CHECKING:
    from sepiola.generation.constraints import ConstraintVocabulary

FEW = 64
"""So many tokens are each tried for an ending; of more only those of QUICK, and the special ones."""
TRIED = 200
"""States that are looked at for the shortest text of a grammar before the first one that is found counts."""
LONGEST = 4096
"""Tokens of the shortest text at most."""
CIRCLE = 8
"""So many tokens of two kinds at most are a circle."""


def shortest_text(matcher: LLMatcher, vocabulary: ConstraintVocabulary) -> list[int] | None:
    """A short legal text from here, end token left out, by best-first search, then as `ending` does; None for none."""
    count = 0
    queue: list[tuple[int, int, list[int], LLMatcher]] = [(0, count, [], matcher.deep_copy())]
    for _ in range(TRIED):
        if not queue:
            return None
        _, _, taken, state = heapq.heappop(queue)
        if state.is_accepting() or state.is_stopped():
            return taken
        forced = state.compute_ff_tokens()
        for tokens in [forced] if forced else [[token] for token in likely(state, vocabulary)]:
            following = state.deep_copy()
            if following.consume_tokens(tokens):
                count += 1
                heapq.heappush(queue, (len(taken) + len(tokens), count, [*taken, *tokens], following))
    return ending(matcher, vocabulary)


def ending(
    matcher: LLMatcher, vocabulary: ConstraintVocabulary, most: int = LONGEST, leads_on: bool = False
) -> list[int] | None:
    """A legal ending of at most `most` tokens, end token left out; None where none is found.

    The likeliest token is taken at every step. Where that goes round in a circle (the digits of a fraction), it is the
    likeliest one that `leads_on`: after which other tokens may follow than before.
    """
    state, taken, masks, same = matcher.deep_copy(), list[int](), set[bytes](), 0
    while not (state.is_accepting() or state.is_stopped()):
        following = state.compute_ff_tokens()
        if following:
            masks = set()
        else:
            candidates = likely(state, vocabulary)
            if leads_on and candidates:
                candidates += [letter for letter in vocabulary.letters if state.validate_tokens([letter])]
                other = next((token for token in candidates if _mask(state, token) not in masks), None)
                same += other is None
                candidates = [candidates[same % len(candidates)] if other is None else other]
                masks.add(_mask(state, candidates[0]))
            following = candidates[:1]
        taken += following
        if len(taken) > most or not following or not state.consume_tokens(following):
            in_a_circle = len(taken) > CIRCLE and len(set(taken[-CIRCLE:])) <= 2
            return ending(matcher, vocabulary, most, True) if in_a_circle and not leads_on else None
    return None if state.is_error() else taken


def _mask(state: LLMatcher, token: int) -> bytes:
    """What may follow after a token."""
    following = state.deep_copy()
    following.consume_token(token)
    return bytes(following.compute_bitmask())


def likely(state: LLMatcher, vocabulary: ConstraintVocabulary) -> list[int]:
    """Tokens of the state's mask, those first that endings are made of, then the longest."""
    bits = np.frombuffer(state.compute_bitmask(), dtype=np.uint8)
    allowed = np.unpackbits(bits, bitorder="little")
    quick = [token for token in vocabulary.quick if allowed[token]]
    ids = np.flatnonzero(allowed)
    if len(ids) > FEW:
        return quick or [int(token) for token in ids[:8]]
    rest = [int(token) for token in ids if int(token) not in quick and int(token) not in vocabulary.ends]
    return [*quick, *sorted(rest, key=lambda token: -len(vocabulary.tokens.decode_bytes([token])))]
