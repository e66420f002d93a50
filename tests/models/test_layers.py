"""Bands and the places of norms against their formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from sepiola.models.build import build
from sepiola.models.layers import AttentionInputs
from sepiola.nn.attend import attend
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from tests.tiny import GROUPED_QUERY

SMALL = {"language": GROUPED_QUERY}


def test_one_query_over_a_cache_in_float32_is_computed_in_float32() -> None:
    q, keys, bias = torch.randn(2, 4, 1, 8).bfloat16(), torch.randn(2, 2, 2, 9, 8), torch.zeros(2, 1, 1, 9)
    bias[0, ..., :3] = torch.finfo(torch.bfloat16).min
    with torch.inference_mode():
        given = attend(q, *keys, bias.bfloat16(), 0.3, 0.0)
        assert torch.equal(given, attend(q.float(), *keys, bias, 0.3, 0.0).bfloat16())


def test_a_parallel_layer_reads_one_norm_and_adds_both(seed: int = 0) -> None:
    raw = override(SMALL, ["language.norm.place=parallel", "language.norm.bias=false", "language.layers=1"])
    model = build(ModelSpec.parse(raw), seed=seed).eval()
    assert not any("feed_forward_norm" in name or name.endswith("norm.bias") for name in model.state_dict())
    layer = model.decoder.layers[0]
    x, angles = torch.randn(2, 5, 12), layer.attention.rotary.angles(torch.arange(5)[None], torch.float32)
    causal = torch.full((5, 5), torch.finfo(torch.float32).min).triu(1)[None, None]
    read = F.layer_norm(x, (12,), layer.attention_norm.weight, None, layer.attention_norm.eps)
    gate, up = layer.feed_forward.gate_up(read).chunk(2, -1)
    expected = x + layer.attention(read, causal, angles) + layer.feed_forward.down(F.silu(gate) * up)
    torch.testing.assert_close(layer(x, AttentionInputs(causal, angles)), expected)
