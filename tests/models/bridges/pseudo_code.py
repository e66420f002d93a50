"""Attention and norms by the pseudo-code of Flamingo's paper (appendix A.1); shares nothing with the package."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def plain_attention(queries: Tensor, context: Tensor, weights: tuple[Tensor, ...], heads: int) -> Tensor:
    wq, wk, wv, wo = weights
    outputs = []
    size = wq.shape[0] // heads
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        q, k, v = queries @ wq[part].T, context @ wk[part].T, context @ wv[part].T
        outputs.append(torch.softmax(q @ k.T / size**0.5, dim=-1) @ v)
    return torch.cat(outputs, dim=-1) @ wo.T


def plain_norm(x: Tensor, norm: Any) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (
        x.var(-1, unbiased=False, keepdim=True) + 1e-5
    ).sqrt() * norm.weight + norm.bias


def weights_of(attention: Any) -> tuple[Tensor, ...]:
    k, v = attention.kv.weight.chunk(2)
    return attention.q.weight, k, v, attention.out.weight


def shaken(module: Any) -> Any:
    for parameter in module.parameters():
        parameter.data.normal_(0.2, 0.4)
    return module
