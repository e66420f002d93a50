"""Multi-head attention (arXiv 1706.03762) with grouped and multi-query heads, fused projections and a cache.

Masks and position biases are one additive tensor, made once for all layers of a stack.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sepiola.nn.attend import FEW, attend
from sepiola.nn.banded import Band
from sepiola.nn.cache import KVCache
from sepiola.nn.linear import BlockLinear
from sepiola.nn.norms import JoinedRMSNorm, norm
from sepiola.nn.positions import Angles, Distances, Rotary
from sepiola.specs.bricks import AttentionSpec, NormSpec


def heads_norm(spec: AttentionSpec, of_head: NormSpec, head_width: int, heads: int) -> nn.Module:
    """What normalises the queries or the keys `(batch, heads, tokens, head_width)` of so many heads."""
    if spec.qk_norm == "joined":
        return JoinedRMSNorm(heads * head_width, eps=of_head.eps)
    return norm(head_width, of_head) if spec.qk_norm else nn.Identity()


class SelfAttention(nn.Module):
    """Self-attention; queries, keys and values come from one matrix, laid out in this order.

    Where the spec asks for it, queries and keys are normalised by their root mean square, as `norm_spec` says.
    """

    def __init__(
        self,
        width: int,
        spec: AttentionSpec,
        dropout: float = 0.0,
        rotary: Rotary | None = None,
        norm_spec: NormSpec | None = None,
        distances: Distances | None = None,
    ) -> None:
        super().__init__()
        self.heads = spec.heads
        self.kv_heads = spec.kv_heads or spec.heads
        self.head_width = spec.head_width or width // spec.heads
        self.scale = spec.scale or self.head_width**-0.5
        self.rotary = rotary
        self.distances = distances
        self.window = spec.window
        self.dropout = dropout
        output_bias = spec.bias if spec.output_bias is None else spec.output_bias
        each, shared = self.heads * self.head_width, self.kv_heads * self.head_width
        self.qkv = BlockLinear(width, {"q": each, "k": shared, "v": shared}, bias=spec.bias, unit=self.head_width)
        self.out = nn.Linear(self.heads * self.head_width, width, bias=output_bias)
        of_head = (norm_spec or NormSpec()).model_copy(update={"kind": "rms"})
        self.q_norm, self.k_norm = (heads_norm(spec, of_head, self.head_width, n) for n in (self.heads, self.kv_heads))

    def forward(
        self,
        x: Tensor,
        bias: Tensor | Band | None = None,
        angles: Angles | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """`x` `(batch, tokens, width)`; `bias` is added to the scores, `(batch | 1, heads | 1, tokens,
        keys)`, or is the band that the tokens see; `angles` are `rotary`'s at their positions. One query of a layer
        with a window sees the last keys, so many as its bias has.
        """
        batch, tokens, _ = x.shape
        heads = self.qkv(x).view(batch, tokens, self.heads + 2 * self.kv_heads, self.head_width).transpose(1, 2)
        q, k, v = heads.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.rotary is not None and angles is not None:
            q, k = self.rotary(q, angles), self.rotary(k, angles)
        return self.out(self.attend(q, k, v, bias, cache))

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | Band | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """What heads `(batch, heads, tokens, head_width)` attend to, `(batch, tokens, heads * head_width)`."""
        if cache is not None:
            k, v = cache.append(k, v)
            if q.shape[2] > FEW:
                k, v = k.to(q.dtype), v.to(q.dtype)
        if self.window is not None and q.shape[2] == 1 and not isinstance(bias, Band):
            near = self.window if bias is None else bias.shape[-1]
            k, v = k[:, :, -near:], v[:, :, -near:]
        if self.distances is not None:
            assert not isinstance(bias, Band)
            q, far = self.distances(q, k.shape[2], self.scale)
            bias = far if bias is None else far + bias
        dropout = self.dropout if self.training else 0.0
        if isinstance(bias, Band):
            return bias.attend(q, k, v, self.scale, dropout)
        return attend(q, k, v, bias, self.scale, dropout)

    def cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache for `capacity` tokens on the weights' device: in their dtype, or on a CPU in float32, where
        one query takes a quarter of the time.
        """
        weight = self.qkv.weight
        dtype = torch.float32 if weight.device.type == "cpu" else weight.dtype
        return KVCache.empty(batch, self.kv_heads, capacity, self.head_width, dtype=dtype, device=weight.device)


class CrossAttention(nn.Module):
    """Attention from `x` to a context; the context's keys and values can be projected once and reused."""

    def __init__(self, width: int, spec: AttentionSpec, dropout: float = 0.0, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = spec.heads
        self.kv_heads = spec.kv_heads or spec.heads
        self.head_width = spec.head_width or width // spec.heads
        self.scale = spec.scale or self.head_width**-0.5
        self.dropout = dropout
        output_bias = spec.bias if spec.output_bias is None else spec.output_bias
        self.q = nn.Linear(width, self.heads * self.head_width, bias=spec.bias)
        shared = self.kv_heads * self.head_width
        self.kv = BlockLinear(context_width or width, {"k": shared, "v": shared}, bias=spec.bias, unit=self.head_width)
        self.out = nn.Linear(self.heads * self.head_width, width, bias=output_bias)

    def project(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values `(batch, kv_heads, positions, head_width)` of a context `(batch, positions,
        width)`.
        """
        batch, positions, _ = context.shape
        heads = self.kv(context).view(batch, positions, 2 * self.kv_heads, self.head_width).transpose(1, 2)
        k, v = heads.chunk(2, dim=1)
        return k, v

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor], bias: Tensor | None = None) -> Tensor:
        batch, tokens, _ = x.shape
        q = self.q(x).view(batch, tokens, self.heads, self.head_width).transpose(1, 2)
        k, v = keys_values
        return self.out(attend(q, k, v, bias, self.scale, self.dropout if self.training else 0.0))
