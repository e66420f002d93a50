"""Vision encoders: each gives features of the shape that it declares to the bridges."""

from __future__ import annotations

import pytest
import torch

from sepiola.models.build import VISION_ENCODERS, build_vision_encoder
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.specs.model import ModelSpec
from tests.tiny import detr, vit

RESNET = {
    "kind": "resnet",
    "pixels": {"size": 32},
    "stem_width": 8,
    "widths": [8, 16],
    "depths": [1, 1],
    "block": "basic",
}


@pytest.mark.parametrize("raw", [vit(), detr(), RESNET], ids=lambda raw: raw["kind"])
def test_features_have_the_declared_shape(raw: dict[str, object]) -> None:
    spec = ModelSpec.parse({"vision": raw}).vision
    assert spec is not None
    encoder = build_vision_encoder(spec).eval()
    assert isinstance(encoder, VisionEncoder) and encoder.spec is spec
    features = encoder(torch.randn(2, 3, spec.pixels.size, spec.pixels.size))
    assert features.shape == (2, encoder.patches, encoder.width)


def test_every_kind_is_tested() -> None:
    assert {raw["kind"] for raw in (vit(), detr(), RESNET)} == set(VISION_ENCODERS)
