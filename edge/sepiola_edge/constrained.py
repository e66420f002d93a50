"""What a model writes under a grammar: what is not allowed has probability exactly zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sepiola_edge._native import Batch

if TYPE_CHECKING:
    from sepiola_edge.calling.constrained_row import ConstrainedRow
    from sepiola_edge.calling.drafts import Allowed
    from sepiola_edge.model import Model

TRIES = 8
"""Tokens that are drawn, and left no room for an ending, before the shortest ending is taken."""
SPARSE = 64
"""Of fewer than one token in so many the head's rows are computed alone."""
Floats = NDArray[np.float32]


def write(model: Model, begun: tuple[Batch, list[int], list[int]], row: ConstrainedRow) -> list[int]:
    """The tokens of a row of a grammar, after a prompt that has `begun`: what has read it, what counts as read, and
    what goes in next. Tokens that are forced or guessed go in with the one before them; the model draws every token as
    it would have without the guess, and what it did not draw is forgotten.
    """
    batch, read, following = begun
    random = np.random.default_rng(model.sampling.seed)
    # Greedily, the likeliest of all tokens is the likeliest of those that may follow, where it may itself.
    asks = model.sampling.temperature == 0

    def draw(logits: Floats) -> int:
        return model.sampling.draw(logits, [*read, *row.written], random)

    while not row.done:
        guess = row.draft(asks=asks)
        ids = [*following, *guess.tokens]
        states = np.empty((len(ids), model.width), np.float32)
        model.core.extend(batch, np.array(ids, np.int32), np.zeros(len(ids), np.int32), states)
        at = [len(following) - 1 + place for place in guess.allowed]
        logits = dict(zip(guess.allowed, _logits(model, states[at], [*guess.allowed.values()]), strict=True))
        taken, following = 0, []
        while not following and not row.done:
            following = [_drawn(row, logits[taken], guess.allowed[taken] is not None, draw), *row.forced()]
            while following and guess.tokens[taken : taken + 1] == following[:1]:
                del following[0]
                taken += 1
        batch.rewind([len(guess.tokens) - taken])
        if guess.tokens:
            row.guessed(taken)
    return row.written


def _logits(model: Model, states: Floats, allowed: Sequence[Allowed | None]) -> Floats:
    """Logits `(states, vocabulary)` with all that is not allowed at -inf, of states where that is known; few rows of
    the head for few.
    """
    logits = np.full((len(states), model.vocabulary), -np.inf, np.float32)
    known = {place: one[: model.vocabulary] for place, one in enumerate(allowed) if one is not None}
    some = np.flatnonzero(np.any([*known.values()], axis=0)).astype(np.int32) if len(known) == len(allowed) else None
    if some is None or len(some) * SPARSE > model.vocabulary:
        model.core.logits(states, logits)
    elif len(some):
        few = np.empty((len(states), len(some)), np.float32)
        model.core.some_logits(states, some, few)
        logits[:, some] = few
    for place, one in known.items():
        logits[place, ~one] = -np.inf
    return logits


def _drawn(row: ConstrainedRow, logits: Floats, known: bool, draw: Callable[[Floats], int]) -> int:
    """The row's next token, which it has taken in. Where it is not `known` in the logits what is allowed, that is asked
    of the one that is drawn.
    """
    if not known:
        if row.may(token := draw(logits.copy())) and row.accept(token):
            return token
        logits[~row.allowed()[: len(logits)]] = -np.inf
    for _ in range(TRIES):
        if not np.isfinite(logits.max()):
            break
        token = draw(logits.copy())
        if row.accept(token):
            return token
        logits[token] = -np.inf
    token = row.shortest()
    row.accept(token)
    return token
