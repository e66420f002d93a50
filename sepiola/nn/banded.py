"""Locally banded attention (Sparse Transformer, arXiv 1904.10509; GPT-3, Gemma 3): a query sees the last keys alone.

Tokens are cut into blocks as long as the band; a block's queries meet the keys of their own block and the one before,
so time and memory grow with tokens × band and not with tokens².
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sepiola.nn.attend import attend


@dataclass(frozen=True)
class Band:
    """What queries see: the `window` keys up to and with their own, within their segment.

    `segments` `(batch, tokens)`: 0 is padding; None when all is one segment.
    """

    window: int
    segments: Tensor | None = None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float) -> Tensor:
        """Attention over heads `(batch, heads, tokens, head_width)`, as `(batch, tokens, heads * head_width)`."""
        batch, _, tokens, _ = q.shape
        blocks = -(-tokens // self.window)
        room = blocks * self.window - tokens
        queries = self._blocks(F.pad(q, (0, 0, 0, room)))
        keys, values = (self._with_previous(F.pad(x, (0, 0, self.window, room))) for x in (k, v))
        bias = self._bias(batch, blocks, room, q)
        out = attend(queries, keys, values, bias, scale, dropout)
        return out.view(batch, blocks * self.window, -1)[:, :tokens]

    def _blocks(self, x: Tensor) -> Tensor:
        """`(batch, heads, blocks * window, width)` as `(batch * blocks, heads, window, width)`."""
        return x.unflatten(2, (-1, self.window)).transpose(1, 2).flatten(0, 1)

    def _with_previous(self, x: Tensor) -> Tensor:
        """`(batch, heads, (1 + blocks) * window, width)` as `(batch * blocks, heads, 2 * window, width)`."""
        windows = x.unfold(2, 2 * self.window, self.window)  # (batch, heads, blocks, width, 2 * window)
        return windows.permute(0, 2, 1, 4, 3).flatten(0, 1)

    def _bias(self, batch: int, blocks: int, room: int, like: Tensor) -> Tensor:
        """`(batch * blocks, 1, window, 2 * window)`: 0 where a key is seen; a query that sees none sees all."""
        window, device = self.window, like.device
        behind = window + torch.arange(window, device=device)[:, None] - torch.arange(2 * window, device=device)
        seen = ((behind >= 0) & (behind < window)).expand(batch, blocks, window, 2 * window)
        if self.segments is None:
            first = torch.arange(2 * window, device=device) >= window  # before the first block there is nothing
            seen = seen & (first | (torch.arange(blocks, device=device) > 0)[:, None])[None, :, None]
        else:
            own = F.pad(self.segments, (0, room)).view(batch, blocks, window, 1)
            met = F.pad(self.segments, (window, room)).unfold(1, 2 * window, window)[:, :, None]
            seen = seen & (own == met) & (met > 0)
        seen = seen | ~seen.any(-1, keepdim=True)
        bias = torch.zeros(seen.shape, dtype=like.dtype, device=device)
        return bias.masked_fill_(~seen, torch.finfo(like.dtype).min).flatten(0, 1)[:, None]
