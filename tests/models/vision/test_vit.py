"""ViT: half precision, and the pictures it refuses."""

from __future__ import annotations

import pytest
import torch

from sepiola.errors import DataError
from sepiola.models.build import build, preset


def test_half_precision_stays_near_full_precision() -> None:
    model = build(preset("vit-tiny")).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        full, half = model(pixels), model.bfloat16()(pixels)
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).abs().mean() < 0.02 * full.abs().mean()


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(2, 3, 48, 64\).*\(batch, 3, 64, 64\).*to_pixels"):
        build(preset("vit-tiny"))(torch.zeros(2, 3, 48, 64))
