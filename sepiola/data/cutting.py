"""Token ids, and how they are made shorter: a long text loses its middle, and never a token of a picture."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ids = Sequence[int] | NDArray[np.integer]

GAP = 2
"""Equal tokens at most that stand between those of a picture and belong to it: the line breaks of a grid of tiles."""


def compact(ids: Ids) -> NDArray[np.integer]:
    """Ids as an array: 4 bytes each, where a tuple's take 36."""
    return ids if isinstance(ids, np.ndarray) else np.asarray(ids, dtype=np.int32)


def cut_middle(tokens: Ids, length: int) -> tuple[int, ...]:
    """`length` of the tokens: their head and their tail, as long as each other."""
    head = length // 2
    return (*tokens[:head], *tokens[len(tokens) - (length - head) :])


def cut_text(tokens: Ids, length: int, pictures: Collection[int]) -> tuple[tuple[int, ...], int]:
    """`length` of the tokens, the middle of the text left out, and how many are those of `pictures`, which all stay."""
    if not pictures:
        return cut_middle(tokens, length), 0
    places = [place for place, token in enumerate(tokens) if token in pictures]
    kept = set(places)
    for before, after in pairwise(places):
        if after - before - 1 <= GAP and len(set(tokens[before + 1 : after])) <= 1:
            kept.update(range(before, after))
    text = [place for place in range(len(tokens)) if place not in kept]
    left = kept.union(cut_middle(text, max(0, length - len(kept))))
    return tuple(token for place, token in enumerate(tokens) if place in left), len(kept)
