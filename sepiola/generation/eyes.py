"""A frozen eye's features through the cache: computed once for each picture, whoever asks.

Where the machine multiplies bfloat16 they are computed in it, as in training: more than twice as fast on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sepiola.data.features import FeatureCache, encoder_key
from sepiola.data.image import ImageRef
from sepiola.models.vision.pixels import to_pixels
from sepiola.nn.precision import resolve
from sepiola.specs.vision import VisionSpec

BATCH_PIXELS = 1 << 21  # together through the eye: 64 small pictures, three of 800 pixels


class EyeFeatures:
    """Features of images under one vision encoder with its present weights, kept in `folder`."""

    def __init__(self, vision: Any, spec: VisionSpec, folder: Path) -> None:
        parameter = next(vision.parameters())
        dtype = resolve("auto", parameter.device)

        def encode(pixels: Tensor) -> Tensor:
            laid_out = pixels.to(parameter.device, parameter.dtype, memory_format=torch.channels_last)
            with torch.autocast(parameter.device.type, dtype, enabled=dtype != torch.float32):
                features: Tensor = vision.eval()(laid_out)
            return features.float()

        self.cache = FeatureCache(
            folder,
            f"{encoder_key(spec, vision.state_dict())}-{str(dtype).removeprefix('torch.')}",
            encode,
            width=vision.width,
            to_pixels=lambda image: to_pixels(image.open(), spec.pixels),
            batch=max(2, min(64, BATCH_PIXELS // spec.pixels.size**2)),
        )

    def rows(self, samples: Sequence[Sequence[ImageRef]]) -> list[Tensor]:
        """Features `(patches, width)` of each sample's images; no rows for a sample without images."""
        return [rows.to(torch.float32) for rows in self.cache.rows(samples)]

    def look(self, images: Sequence[ImageRef]) -> Tensor:
        """Features `(patches, width)` of one question's images, one after the other."""
        return self.rows([images])[0]

    def look_at_each(self, images: Sequence[ImageRef]) -> Tensor:
        """Features `(images, patches, width)` of images that the text places."""
        return self.look(images).unflatten(0, (len(images), -1))
