"""The gated layer against the paper's pseudo-code (appendix A.1), which shares nothing with the package."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sepiola.models.bridges.gated import GatedLayer
from sepiola.specs.bridge import GatedCrossSpec


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


@torch.no_grad()
def test_the_gated_layer_is_the_papers() -> None:
    spec = GatedCrossSpec.parse({"kind": "gated-cross", "attention": {"heads": 2, "head_width": 8}})
    ours = shaken(GatedLayer(spec, 16, 10))
    y, x = torch.randn(6, 16), torch.randn(3, 10)
    attended = plain_attention(plain_norm(y, ours.attention_norm), x, weights_of(ours.attention), 2)
    expected = y + torch.tanh(ours.attention_gate) * attended
    hidden = torch.nn.functional.gelu(plain_norm(expected, ours.feed_forward_norm) @ ours.feed_forward.up.weight.T)
    expected = expected + torch.tanh(ours.feed_forward_gate) * (hidden @ ours.feed_forward.down.weight.T)
    given = ours(y[None], ours.attention.project(x[None]), None, torch.ones(1, 6, 1))[0]
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-5)
