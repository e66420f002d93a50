"""A prepacked ViT: features as near to full precision as bfloat16 allows, and nothing packed that it cannot help."""

from __future__ import annotations

import pytest
import torch

from sepiola.models.build import build, preset
from sepiola.runtime.prepacked_vit import prepack, prepackable
from sepiola.specs.model import ModelSpec
from tests.tiny import vit as vit_spec


def packable(**changes: object) -> ModelSpec:
    """Odd on purpose: heads of 20, 26 positions, a hidden width that no vector length divides."""
    attention = {"heads": 3, "bias": True}
    vision = vit_spec(35, 7, 60, 2, hidden=77, **{"attention": attention, **changes})
    return ModelSpec.parse({"vision": vision})


@pytest.mark.skipif(not prepackable(), reason="this processor has no bfloat16 instructions")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "class_token": False,
            "final_norm": False,
            "input_norm": True,
            "patch_bias": False,
            "feed_forward": {"width": 77, "bias": True, "activation": "quick_gelu"},
        },
        {
            "attention": {"heads": 1, "head_width": 20, "bias": False},
            "feed_forward": {"width": 64, "bias": False},
        },
    ],
    ids=["plain", "clip", "one-head"],
)
def test_prepacked_features_are_as_near_to_full_precision(changes: dict) -> None:
    model = build(packable(**changes)).eval()
    pixels = torch.randn(3, 3, 35, 35)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.5))
        full = model(pixels)
        half = model.bfloat16()(pixels).float()
        packed = prepack(model)
        assert packed is not model and not list(packed.parameters())
        assert (packed.width, packed.patches) == (model.width, model.patches)
        got = packed(pixels).float()
        alone = torch.cat([packed(one[None]) for one in pixels]).float()
    error, allowed = (got - full).square().mean().sqrt(), (half - full).square().mean().sqrt()
    assert error < 1.5 * allowed < 0.1 * full.std()
    torch.testing.assert_close(alone, got, atol=0.05, rtol=0.05)


def test_prepack_leaves_alone_what_it_cannot_help() -> None:
    for model in (
        build(preset("vit-tiny")),
        build(preset("resnet-tiny")).bfloat16(),
        build(packable(feed_forward={"width": 8, "gated": True})).bfloat16(),
    ):
        assert prepack(model) is model
