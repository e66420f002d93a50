"""The products of attention, and the masks that go into them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sepiola.nn.dropout import keep_factors, keep_mask
from sepiola.nn.precision import product_dtype

KEPT_KEYS = 1024
FEW = 16
"""So many queries of a decoder's step at most, those of guessed tokens among them."""


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    """Attention over heads `(batch, heads, tokens, head_width)`, as `(batch, tokens, heads * head_width)`.

    Training on a CPU keeps the probabilities of up to 1024 keys for the backward pass: torch's own backward
    there is three to four times slower, and slower still when the bias learns. In bfloat16 torch's fused
    attention is slower there than plain products even forward: seven times for one query, twice for ViT's 197.
    Over keys in float32 (a CPU's cache) few queries are fused in float32: four times faster than products in bfloat16,
    of which oneDNN would besides compile and keep one for every number of keys.
    """
    learns = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad)
    if q.shape[2] <= FEW and not learns and q.dtype != torch.float32 == product_dtype(k):
        wide = None if bias is None else bias.float()
        return attend(q.float(), k, v, wide, scale, dropout).to(q.dtype)
    if q.device.type == "cpu" and k.shape[2] <= KEPT_KEYS and (learns or q.dtype != torch.float32):
        dtype = product_dtype(q)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
        if learns:
            out = _KeptAttention.apply(q, k, v, bias, scale, dropout)
        else:
            out = _products(q, k, v, bias, scale, dropout).out
    else:
        grouped = q.shape[1] != k.shape[1]
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, dropout_p=dropout, scale=scale, enable_gqa=grouped
        )
    return out.transpose(1, 2).flatten(2)


class _Products(NamedTuple):
    """What attention gives, and what its gradient needs: the scaled queries, the probabilities, dropout's mask (a byte
    an element), and the factor of what is kept.
    """

    out: Tensor
    queries: Tensor
    kept: Tensor
    mask: Tensor | None
    factor: float


def _products(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float) -> _Products:
    """Scores, softmax in float32, and weighted values.

    With grouped heads, the queries of a group stand one after another as rows of their keys' product.
    """
    batch, heads, tokens, width = q.shape
    q = (q if scale == 1.0 else q * scale).reshape(batch, k.shape[1], -1, width)
    keys = k.contiguous() if tokens == 1 else k  # a slice of a cache: copied, the product is three times faster
    scores = (q @ keys.transpose(-1, -2)).view(batch, heads, tokens, -1)
    if bias is not None:
        # A mask's zeros and lowest numbers add without loss in any dtype; a bias that learns needs its own.
        scores = scores.add_(bias) if bias.dtype == scores.dtype else scores + bias
    kept = scores.softmax(-1).to(q.dtype)  # torch's sums are float32 for bfloat16 too
    del scores
    mask, factor = keep_mask(kept.shape, dropout) if dropout else (None, 1.0)
    weights = kept if mask is None else keep_factors(mask, factor, kept.dtype).mul_(kept)
    out = (weights.view(*q.shape[:3], -1) @ v).view(batch, heads, tokens, -1)
    return _Products(out, q, kept, mask, factor)


class _KeptAttention(torch.autograd.Function):
    """`_products` whose probabilities are kept, in the inputs' dtype, for the gradient."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()  # once: each product would copy its own otherwise
        out, q, kept, mask, ctx.factor = _products(q, k, v, bias, scale, dropout)
        ctx.save_for_backward(q, k, v, kept, mask)
        ctx.scale, ctx.bias_like = scale, None if bias is None else (bias.shape, bias.dtype)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, kept, mask = ctx.saved_tensors
        batch, heads, tokens, width = grad.shape
        rows = (*q.shape[:3], -1)
        grad = grad.reshape(*q.shape[:3], width)
        grad_kept = (grad @ v.transpose(-1, -2)).view(kept.shape)
        weights = kept
        if mask is not None:
            factors = keep_factors(mask, ctx.factor, kept.dtype)
            grad_kept.mul_(factors)
            weights = factors.mul_(kept)
            del factors
        grad_v = weights.view(rows).transpose(-1, -2) @ grad
        grad_scores = torch.ops.aten._softmax_backward_data(grad_kept, kept, -1, kept.dtype)
        del weights, grad_kept
        grad_k = grad_scores.view(rows).transpose(-1, -2) @ q
        grad_q = (grad_scores.view(rows) @ k).view(batch, heads, tokens, -1)
        if ctx.scale != 1.0:
            grad_q.mul_(ctx.scale)
        grad_bias = None
        if ctx.needs_input_grad[3]:
            shape, dtype = ctx.bias_like
            grad_bias = grad_scores.sum_to_size(shape).to(dtype)
        return grad_q, grad_k, grad_v, grad_bias, None, None


def mask_bias(
    query_segments: Tensor | None,
    key_segments: Tensor | None,
    *,
    causal: int | None,
    queries: int,
    keys: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor | None:
    """The additive mask `(batch | 1, 1, queries, keys)`, or None when everything is seen.

    Segments are integers: 0 is padding, and positions see each other when they hold the same number (a plain
    0/1 attention mask is the case of one segment). `causal` is the position of the first query among the
    keys, None for attention in both directions. A query that may see nothing (padding) sees everything, so
    that no row is empty; what it computes is never read.
    """
    allowed: Tensor | None = None
    if causal is not None and queries > 1:
        rows = torch.arange(causal, causal + queries, device=device)
        allowed = (torch.arange(keys, device=device) <= rows[:, None])[None]
    if key_segments is not None:
        same = (
            (key_segments > 0)[:, None]
            if query_segments is None
            else ((query_segments[:, :, None] == key_segments[:, None]) & (key_segments > 0)[:, None])
        )
        allowed = same if allowed is None else allowed & same
    if allowed is None:
        return None
    allowed = allowed | ~allowed.any(-1, keepdim=True)
    bias = torch.zeros(allowed.shape, dtype=dtype, device=device)
    return bias.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def segment_begins(segments: Tensor) -> Tensor:
    """Where a row's segments begin `(batch, tokens)`: padding between a segment's tokens does not end it."""
    index = torch.arange(segments.shape[1], device=segments.device)
    last = torch.where(segments != 0, index, 0).cummax(dim=1).values  # the last token that is no padding
    filled = segments.gather(1, last)
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = filled[:, 1:] != filled[:, :-1]
    return begins


def has_gaps(segments: Tensor) -> bool:
    """Whether in some row padding stands between tokens."""
    real = segments != 0
    index = torch.arange(segments.shape[1], device=segments.device)
    first = torch.where(real, index, segments.shape[1]).amin(1)
    last = torch.where(real, index, -1).amax(1)
    return bool((last - first + 1 > real.sum(1)).any())


def window_bias(
    bias: Tensor | None, segments: Tensor | None, window: int, *, queries: int, keys: int, like: Tensor
) -> Tensor | None:
    """A bias of the last `queries` of all `keys` without the keys beyond the window; a single query's ends with it.

    With `segments` `(batch, keys)` their padding does not count. A bias that is not there has the dtype of products of
    `like`.
    """
    if queries == 1 and segments is None:
        return None if bias is None else bias[..., -window:]
    place = torch.arange(keys, device=like.device)[None] if segments is None else (segments != 0).cumsum(dim=1)
    far = (place[:, keys - queries :, None] - place[:, None] >= window)[:, None]
    if bias is None:
        bias = torch.zeros(far.shape, dtype=product_dtype(like), device=like.device)
    return bias.masked_fill(far, torch.finfo(bias.dtype).min)
