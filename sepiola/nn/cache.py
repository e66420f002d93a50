"""The key-value cache of one attention layer: filled from the left, grown by doubling up to its capacity."""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """Keys and values `(batch, kv_heads, allocated, head_width)`, of which the first `length` positions are filled."""

    def __init__(self, keys: Tensor, values: Tensor, capacity: int) -> None:
        self.keys = keys
        self.values = values
        self.capacity = capacity
        self.length = 0

    @classmethod
    def empty(
        cls, batch: int, heads: int, capacity: int, width: int, *, dtype: torch.dtype, device: torch.device
    ) -> KVCache:
        """An unfilled cache for `capacity` positions."""
        shape = (batch, heads, min(capacity, 64), width)
        keys = torch.empty(shape, dtype=dtype, device=device)
        return cls(keys, torch.empty_like(keys), capacity)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Stores new positions and returns views of all that are filled. Raises IndexError past the capacity."""
        end = self.length + keys.shape[2]
        if end > self.capacity:
            raise IndexError(f"the cache holds {self.capacity} positions, {end} were needed")
        if end > self.keys.shape[2]:
            self._grow(min(max(end, 2 * self.keys.shape[2]), self.capacity))
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def _grow(self, positions: int) -> None:
        batch, heads, _, width = self.keys.shape
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty(batch, heads, positions, width)
            new[:, :, : self.length] = old[:, :, : self.length]
            setattr(self, name, new)

    def select(self, rows: Tensor) -> None:
        """Keeps these rows of the batch, in this order; a row may be named more than once."""
        self.keys = self.keys.index_select(0, rows)
        self.values = self.values.index_select(0, rows)
