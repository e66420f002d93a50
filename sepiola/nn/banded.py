"""Attention in slices: a few queries at a time meet the keys that any of them sees, by views and not by copies.

Locally banded attention (Sparse Transformer, arXiv 1904.10509; GPT-3, Gemma 3), where a query sees the last keys alone:
time and training memory grow with tokens × band and not with tokens², and a forward pass needs little memory beside its
result. Causal attention is the band as wide as the text: on a CPU half the products fall away, and each slice's scores
stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sepiola.nn.attend import attend
from sepiola.nn.precision import product_dtype

SLICED = 256
"""Tokens from which a CPU is faster at slices than at the whole of causal attention."""


@dataclass(frozen=True)
class Band:
    """What queries see: the `window` keys up to and with their own, within their segment.

    `segments` `(batch, tokens)`: 0 is padding; None when all is one segment.
    """

    window: int
    segments: Tensor | None = None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float) -> Tensor:
        """Attention over heads `(batch, heads, tokens, head_width)`, as `(batch, tokens, heads * head_width)`."""
        dtype = product_dtype(q)
        parts = self._parts(q.to(dtype), k.to(dtype), v.to(dtype), scale, dropout)
        if torch.is_grad_enabled():
            return torch.cat([part for _, part in parts], dim=1)
        batch, heads, tokens, width = q.shape
        out = v.new_empty(batch, tokens, heads * width, dtype=dtype)
        for rows, part in parts:
            out[:, rows] = part
        return out

    def _parts(self, q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float) -> Iterator[tuple[slice, Tensor]]:
        """The rows of some queries and what they attend to, one after the other."""
        at_once = 64 if q.device.type == "cpu" else 512  # more see fewer of the keys they meet, but fill a GPU
        near = self._near(at_once, q)
        for number, queries in enumerate(q.split(at_once, dim=2)):
            start = number * at_once
            end = start + queries.shape[2]
            before = start + 1 - self.window  # the first key that is in a window, unless the text begins after it
            first = max(0, before)
            bias = near[..., : end - start, first - before : end - before]
            if self.segments is not None:
                own, met = self.segments[:, None, start:end, None], self.segments[:, None, None, first:end]
                bias = bias.masked_fill(own != met, torch.finfo(q.dtype).min)
            keys, k = _Span.apply(k, first, end)
            values, v = _Span.apply(v, first, end)
            yield slice(start, end), attend(queries, keys, values, bias, scale, dropout)

    def _near(self, queries: int, like: Tensor) -> Tensor:
        """0 where a key is in the window of a query, `(1, 1, queries, window - 1 + queries)`; both end together."""
        positions = torch.arange(queries, device=like.device)[:, None]
        behind = positions - torch.arange(1 - self.window, queries, device=like.device)
        near = torch.zeros(1, 1, *behind.shape, dtype=like.dtype, device=like.device)
        return near.masked_fill_((behind < 0) | (behind >= self.window), torch.finfo(like.dtype).min)


class _Span(torch.autograd.Function):
    """Some of the keys, and all of them for the next span: the gradients of all spans are summed in one tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: int, end: int) -> tuple[Tensor, Tensor]:
        ctx.span = slice(first, end)
        return x[:, :, first:end], x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, total: Tensor) -> tuple[Tensor, None, None]:
        total[:, :, ctx.span] += grad  # in place: the last span gets fresh zeros, the others what the next returned
        return total, None, None
