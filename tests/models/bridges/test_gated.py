"""The gated layer against the paper's pseudo-code (appendix A.1), which shares nothing with the package."""

from __future__ import annotations

import torch

from sepiola.models.bridges.gated import GatedLayer
from sepiola.specs.bridge import GatedCrossSpec
from tests.models.bridges.pseudo_code import plain_attention, plain_norm, shaken, weights_of


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
