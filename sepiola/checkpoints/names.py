"""Name maps between our state dicts and the Hub's: one table a family, read in both directions.

A row says which Hub tensors, laid one under the other, are one of ours (queries, keys and values; gate and up). What
a table does not name passes through unchanged, so that strict loading reports it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from sepiola.checkpoints.lazy import LazyTensors, Pieces, changed, later, renamed


@dataclass(frozen=True)
class NameMap:
    """Our tensor `ours` is the Hub's tensors `hub` stacked along the first dimension, `rows` of each (equal if None).

    `turned` tensors are stored transposed (GPT-2).
    """

    ours: str
    hub: tuple[str, ...]
    rows: tuple[int, ...] | None = None
    turned: bool = False


def to_ours(state: Mapping[str, Tensor], table: Iterable[NameMap]) -> LazyTensors:
    """Our state dict from a Hub one. A row of which a Hub tensor is missing is left out, and so reported as missing."""
    left = later(state)
    result: dict[str, Pieces] = {}
    for row in table:
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


_LEGACY = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_TABLES = re.compile(r"(.*\.)?(position_ids|rotary_emb\.(inv_freq|cos_cached|sin_cached))")


def as_saved_today(state: Mapping[str, Tensor]) -> LazyTensors:
    """The tensors of a published file without what any family's may hold: TensorFlow's names of norms, which get those
    of today, and tables of positions, which are computed instead.
    """

    def name_today(name: str) -> str | None:
        for old, new in _LEGACY.items():
            name = name.replace(old, new)
        return None if _TABLES.fullmatch(name) else name

    return renamed(state, name_today)


def without(state: Mapping[str, Tensor], leftovers: str) -> LazyTensors:
    """The tensors but those whose whole name matches the expression: what old files hold and no model has."""
    pattern = re.compile(leftovers)
    return renamed(state, lambda name: None if pattern.fullmatch(name) else name)


def prefixed(state: Mapping[str, Tensor], prefix: str, *apart: str) -> LazyTensors:
    """The tensors with one `prefix` before their names, which bare models lack and some saves write twice.

    Names that begin with one of `apart` (a head's) have none.
    """

    def whole(name: str) -> str:
        while name.startswith(prefix):
            name = name.removeprefix(prefix)
        return name if name.startswith(apart) else prefix + name

    return renamed(state, whole)
