"""Norms against their formulas, and the layer that a spec names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sepiola.nn.norms import RMSNorm, ZeroCentredRMSNorm, norm
from sepiola.specs.bricks import NormSpec


@pytest.mark.parametrize("zero_centred", [False, True])
def test_rms_norm_divides_by_the_root_of_the_mean_square(zero_centred: bool) -> None:
    layer = norm(4, NormSpec(kind="rms", zero_centred=zero_centred, eps=1e-12))
    assert type(layer) is (ZeroCentredRMSNorm if zero_centred else RMSNorm)
    x = torch.tensor([[1.0, -1.0, 3.0, 5.0]])  # mean square 9
    torch.testing.assert_close(layer(x), x / 3)
    with torch.no_grad():
        layer.weight += 1
    torch.testing.assert_close(layer(x), 2 * x / 3)


def test_layer_norm_is_torchs_with_or_without_a_bias() -> None:
    x = torch.randn(2, 6)
    torch.testing.assert_close(norm(6, NormSpec(eps=1e-3))(x), nn.LayerNorm(6, eps=1e-3)(x))
    assert [name for name, _ in norm(6, NormSpec(bias=False)).named_parameters()] == ["weight"]


def test_a_zero_centred_norm_computes_in_float32() -> None:
    """In bfloat16 a weight of one and a little is one: only a product in float32 keeps the little."""
    layer = ZeroCentredRMSNorm(8, eps=1e-6)
    nn.init.constant_(layer.weight, 0.002)
    x = torch.randn(3, 8).bfloat16()
    exact = x.double() * x.double().square().mean(-1, keepdim=True).add(1e-6).rsqrt() * (1 + layer.weight.double())
    assert layer(x).dtype == torch.bfloat16 and torch.equal(layer(x), exact.bfloat16())
