"""How a text under a grammar ends: the shortest text of it all, and a short ending from any state.

A greedy ending takes the likeliest token at every step. The shortest one is sought among those that differ from it
somewhere and go on greedily: best first, each state known by the greedy ending that it has.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher

if TYPE_CHECKING:
    from .constraints import ConstraintVocabulary

FEW = 64
"""So many tokens are each tried for an ending; where more may follow, a text is under way."""
WIDE = 8
"""The longest tokens of a text that are tried where nothing ends it."""
TRIED = 6000
"""Tokens of greedy endings that are looked at for the shortest text."""
AT_ONCE = 200
"""The same while a text is being written, where another token may be taken instead."""
NARROW, WIDER = 1 << 14, 640
"""Candidates that a greedy ending may look at as it goes round in a circle: in one where few may follow, letters among
them (a key of 256 letters and digits), and in all where a text is under way, or a letter of several bytes.
"""
LONGEST = 4096
"""Tokens of the shortest text at most."""
OPENING = b",:[{("
"""What a token ends with that opens something new."""


def shortest_text(
    matcher: LLMatcher, vocabulary: ConstraintVocabulary, most: int = LONGEST, tried: int = TRIED
) -> list[int] | None:
    """The shortest legal text from here that is found, end token left out; None where none of `most` tokens is."""
    best = _greedy(matcher, vocabulary, most)
    first = most + 1 if best is None else len(best)
    queue: list[tuple[int, int, list[int], LLMatcher]] = [(first, 0, [], matcher.deep_copy())]
    seen: set[tuple[int, tuple[int, ...]]] = set()
    count = 0
    while queue and tried > 0:
        length, _, taken, state = heapq.heappop(queue)
        if best is not None and length > len(best):
            break
        if state.is_accepting() or state.is_stopped():
            continue
        forced = state.compute_ff_tokens()
        for tokens in [forced] if forced else [[token] for token in likely(state.compute_bitmask(), vocabulary)]:
            written, following = [*taken, *tokens], state.deep_copy()
            room = (most if best is None else len(best)) - len(written)
            if room < 0 or not following.consume_tokens(tokens):
                continue
            rest = _greedy(following, vocabulary, room)
            tried -= 1 + (min(room, AT_ONCE) if rest is None else len(rest))
            if rest is None:
                length = most + len(written)
            else:
                length = len(written) + len(rest)
                if (len(written), tuple(rest)) in seen:
                    continue
                seen.add((len(written), tuple(rest)))
                if best is None or length < len(best):
                    best = [*written, *rest]
            if best is None or length <= len(best):
                count += 1
                heapq.heappush(queue, (length, count, written, following))
    return best


def ending(matcher: LLMatcher, vocabulary: ConstraintVocabulary, most: int = LONGEST) -> list[int] | None:
    """A legal ending of at most `most` tokens, end token left out; None where none is found at once."""
    found = _greedy(matcher, vocabulary, most)
    return shortest_text(matcher, vocabulary, most, AT_ONCE) if found is None else found


def _greedy(matcher: LLMatcher, vocabulary: ConstraintVocabulary, most: int) -> list[int] | None:
    """The likeliest token at every step; where that goes round in a circle (the digits of a fraction), the likeliest
    one after which other tokens may follow than before. None for more than `most`, and for a circle without an end.
    """
    state, taken, masks, same = matcher.deep_copy(), list[int](), set[bytes](), 0
    letters, narrow, wide = {*vocabulary.letters}, 0, 0  # candidates that circles looked at: see NARROW
    while not (state.is_accepting() or state.is_stopped()):
        following = state.compute_ff_tokens()
        if following:
            masks.clear()
            narrow = 0
        else:
            mask = bytes(state.compute_bitmask())
            candidates = likely(mask, vocabulary)
            following = candidates[:1]
            if mask in masks and candidates:
                other = next((token for token in candidates if _after(state, token) not in masks), None)
                if other is None:
                    same += 1
                    if int.from_bytes(mask, "little").bit_count() <= FEW and not letters.isdisjoint(candidates):
                        narrow += len(candidates)
                    else:
                        wide += len(candidates)
                if narrow > NARROW or wide > WIDER:
                    return None
                following = [candidates[same % len(candidates)] if other is None else other]
            masks.add(mask)
        taken += following
        if len(taken) > most or not following or not state.consume_tokens(following):
            return None
    return None if state.is_error() else taken


def _after(state: LLMatcher, token: int) -> bytes:
    """What may follow after a token."""
    following = state.deep_copy()
    following.consume_token(token)
    return bytes(following.compute_bitmask())


def likely(mask: bytes, vocabulary: ConstraintVocabulary) -> list[int]:
    """Tokens of a mask, those first that endings are made of, then those that open nothing new, then the longest.

    Where many may follow, a text is under way: what ends it, or else its longest tokens, and the single letters, of
    which one may be what a format waits for.
    """
    allowed = np.unpackbits(np.frombuffer(mask, dtype=np.uint8), bitorder="little")
    ids = np.flatnonzero(allowed)
    if len(ids) > FEW:
        stops = [token for token in vocabulary.stops if allowed[token]]
        if stops:
            return [*stops, *vocabulary.closers[allowed[vocabulary.closers] > 0].tolist()]
        longest = ids[np.argsort(-vocabulary.lengths[ids], kind="stable")[:WIDE]]
        letters = [token for token in vocabulary.letters if allowed[token]]
        return [*longest.tolist(), *letters, *ids[:WIDE].tolist()]
    quick = [token for token in vocabulary.quick if allowed[token]]
    others = [int(token) for token in ids if int(token) not in quick and int(token) not in vocabulary.ends]
    return [*quick, *sorted(others, key=lambda token: (vocabulary.opening[token], -vocabulary.lengths[token]))]
