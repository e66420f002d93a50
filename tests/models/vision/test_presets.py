"""Presets of vision encoders: sizes as published, features of any batch alike, weights that can learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    Blip2VisionConfig,
    Blip2VisionModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    DetrConfig,
    DetrModel,
    PreTrainedConfig,
    ResNetConfig,
    ResNetModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from sepiola.checkpoints.families import clip, detr, eva, resnet, siglip, vit
from sepiola.errors import SpecError
from sepiola.models.build import build, parameter_counts, preset, presets
from sepiola.specs.model import ModelSpec
from tests.tiny import detr as detr_spec
from tests.tiny import vit as vit_spec

VISION_ENCODERS = [
    name for name, spec in presets().items() if spec.vision is not None and not (spec.language or spec.bridge)
]


def tiny_detr() -> ModelSpec:
    return ModelSpec.parse({"name": "tiny", "family": "detr", "vision": detr_spec(2)})


# The Hub's DETR always freezes its norms, whose weights then count no more: detr-tiny learns them.
@pytest.mark.parametrize("name", [name for name in VISION_ENCODERS if name != "detr-tiny"])
def test_as_many_parameters_as_the_hub_s_model(name: str) -> None:
    spec = preset(name)
    families = {"vit": vit, "clip": clip, "resnet": resnet, "detr": detr, "siglip": siglip, "blip_2_vision_model": eva}
    family: Any = families[spec.family]
    config = family.config_from_spec(spec)
    with torch.device("meta"):
        theirs = _hub(config)
    assert parameter_counts(spec)["vision"] == sum(p.numel() for p in theirs.parameters())


def _hub(config: dict) -> nn.Module:
    kinds: dict[str, tuple[type[PreTrainedConfig], type[nn.Module], dict]] = {
        "vit": (ViTConfig, ViTModel, {"add_pooling_layer": False}),
        "clip_vision_model": (CLIPVisionConfig, CLIPVisionModel, {}),
        "siglip_vision_model": (SiglipVisionConfig, SiglipVisionModel, {}),
        "resnet": (ResNetConfig, ResNetModel, {}),
        "detr": (DetrConfig, DetrModel, {}),
        "blip_2_vision_model": (Blip2VisionConfig, Blip2VisionModel, {}),
    }
    config_kind, model, extra = kinds[config["model_type"]]
    return model(config_kind(**config), **extra)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vit-base-16-224", 85.8e6),
        ("vit-large-32-384", 305.6e6),
        ("clip-vit-base-32", 87.5e6),
        ("clip-vit-large-14", 303.2e6),
        ("clip-vit-huge-14", 630.8e6),
        ("siglip-vit-base-16-224", 85.8e6),
        ("siglip-vit-so400m-14-384", 412.9e6),
        ("eva-clip-g", 0.986e9),
        ("resnet-50", 23.5e6),
        ("resnet-18", 11.18e6),
        ("detr-resnet-50", 41.4e6),
    ],
)
def test_published_sizes(name: str, published: float) -> None:
    assert parameter_counts(preset(name))["vision"] == pytest.approx(published, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("vit-large-32-384", (145, 1024)),
        ("detr-resnet-101", (100, 256)),
        ("resnet-50", (49, 2048)),
        ("clip-vit-large-14", (257, 1024)),
        ("siglip-vit-base-16-512", (1024, 768)),
        ("siglip-vit-so400m-14-384", (729, 1152)),
        ("eva-clip-g", (257, 1408)),
        ("vit-tiny", (65, 128)),
        ("resnet-tiny", (64, 128)),
    ],
)
def test_features_have_the_shape_that_the_model_tells(name: str, shape: tuple[int, int]) -> None:
    spec = preset(name)
    size = spec.vision.pixels.size
    with torch.device("meta"):
        model = build(spec)
        features = model(torch.empty(2, 3, size, size))
    assert features.shape == (2, *shape) == (2, model.patches, model.width)


@pytest.mark.parametrize("name", ["vit-tiny", "resnet-tiny", "tiny"])
def test_a_batch_is_its_pictures_one_by_one_and_a_seed_its_weights(name: str) -> None:
    spec = tiny_detr() if name == "tiny" else preset(name)
    model, again, other = build(spec, seed=1).eval(), build(spec, seed=1).eval(), build(spec, seed=2).eval()
    pixels = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        batch = model(pixels)
        alone = torch.cat([model(one[None]) for one in pixels])
        torch.testing.assert_close(batch, alone, atol=1e-5, rtol=1e-4)
        assert torch.equal(again(pixels), batch)
        assert (other(pixels) - batch).abs().max() > 1e-2
    assert batch.isfinite().all() and 1e-2 < batch.std() < 100


@pytest.mark.parametrize("name", ["vit-tiny", "resnet-tiny"])
def test_every_weight_learns(name: str) -> None:
    model = build(preset(name)).train()
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        (
            vit_spec(7),
            r"pixels.size \(7\) must hold a patch \(8\)",
        ),
        ({"kind": "resnet", "pixels": {"size": 64}, "widths": (8, 16), "depths": (1,)}, "must be as many"),
        ({"kind": "resnet", "pixels": {"size": 64}, "widths": (10,), "depths": (1,)}, "multiples of 4"),
        ({"kind": "detr", "pixels": {"size": 64}, "width": 18, "heads": 3}, "multiple of 4"),
    ],
)
def test_impossible_shapes_are_refused(vision: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModelSpec.parse({"vision": vision})
