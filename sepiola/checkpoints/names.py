"""Name maps between our state dicts and the Hub's: one table a family, read in both directions.

A row says which Hub tensors, laid one under the other, are one of ours (queries, keys and values; gate and up). What
a table does not name passes through unchanged, so that strict loading reports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from sepiola.checkpoints.lazy import LazyTensors, Pieces, changed, later


@dataclass(frozen=True)
class NameMap:
    """Our tensor `ours` is the Hub's tensors `hub` stacked along the first dimension, `rows` of each (equal if None).

    `also` are Hub names that repeat the tensor (T5's `encoder.embed_tokens`): dropped on reading when present.
    `turned` tensors are stored transposed (GPT-2).
    """

    ours: str
    hub: tuple[str, ...]
    rows: tuple[int, ...] | None = None
    also: tuple[str, ...] = ()
    turned: bool = False


def to_ours(state: Mapping[str, Tensor], table: Iterable[NameMap]) -> LazyTensors:
    """Our state dict from a Hub one. A row of which a Hub tensor is missing is left out, and so reported as missing."""
    left = later(state)
    result: dict[str, Pieces] = {}
    for row in table:
        for name in row.also:
            if name in left and (name in row.hub or row.hub[0] in left):
                left.pop(name)
        if all(name in left for name in row.hub):
            reads = [read for name in row.hub for read in left.pop(name)]
            result[row.ours] = [changed(read, Tensor.t) for read in reads] if row.turned else reads
    return LazyTensors({**result, **left})


def to_hub(state: Mapping[str, Tensor], table: Iterable[NameMap]) -> dict[str, Tensor]:
    """The Hub's state dict from ours; tensors are contiguous, as safetensors needs."""
    left = dict(state)
    result: dict[str, Tensor] = {}
    for row in table:
        if row.ours not in left:
            continue
        tensor = left.pop(row.ours)
        sizes: Sequence[int] = row.rows or [tensor.shape[0] // len(row.hub)] * len(row.hub)
        for name, part in zip(row.hub, tensor.split(list(sizes)), strict=True):
            result[name] = (part.t() if row.turned else part).contiguous()
    return {**result, **left}
