"""Pictures to a vision encoder's features: of one prompt, or of a frozen encoder through the cache, computed once for
each picture, whoever asks.

In the cache, where the machine multiplies bfloat16 they are computed in it, as in training: more than twice as fast on
a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sepiola.data.features import FeatureCache, encoder_key
from sepiola.data.image import ImageRef
from sepiola.models.vision.tiles import TOGETHER, tiling, to_tiles
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.nn.precision import autocast, resolve
from sepiola.specs.vision import PixelSpec, VisionSpec

ImageEncoder = Callable[[Sequence[ImageRef]], Tensor]
"""One prompt's images to what the model takes."""


def keeps_last(encode: ImageEncoder) -> ImageEncoder:
    """The same encoder, which is not run again where the images are those of the prompt before."""
    kept: dict[tuple[ImageRef, ...], Tensor] = {}

    def encoded(images: Sequence[ImageRef]) -> Tensor:
        key = tuple(images)
        if key not in kept:
            features = encode(images)
            kept.clear()
            kept[key] = features
        return kept[key]

    return encoded


BATCH_PIXELS = 1 << 21  # together through the vision encoder: 64 small pictures, three of 800 pixels


def encode_tiles(
    encode: Callable[[Tensor], Tensor],
    images: Sequence[ImageRef],
    pixels: PixelSpec,
    device: torch.device,
    dtype: torch.dtype,
    *,
    whole: bool,
) -> Tensor:
    """Features of one prompt's images, each at its own size: `(patches, width)`, or `(tiles, patches, width)` where
    tiles stay `whole`.
    """
    with torch.inference_mode():
        tiles = (t.to(device, dtype) for t in to_tiles(images, pixels))
        features = [encode(some) for picture in tiles for some in picture.split(TOGETHER)]
        return torch.cat(features if whole else [each.flatten(0, 1) for each in features])


class ImageFeatures:
    """Features of images under one vision encoder with its present weights, kept in `folder`."""

    def __init__(self, vision: VisionEncoder, spec: VisionSpec, folder: Path) -> None:
        parameter = next(vision.parameters())
        self.patches = vision.patches
        dtype = resolve("auto", parameter.device)

        together = max(2, min(64, BATCH_PIXELS // spec.pixels.size**2))

        def encode(pixels: Tensor) -> Tensor:
            """Features `(pictures, patches, width)` of pictures in tiles, their patches one after the other."""
            features = []
            for tiles in pixels.flatten(0, 1).split(together):
                moved = tiles.to(parameter.device, parameter.dtype)
                with autocast(parameter.device, dtype):
                    features.append(vision.eval()(moved).float())
            return torch.cat(features).unflatten(0, pixels.shape[:2]).flatten(1, 2)

        cut, key = tiling(spec.pixels), encoder_key(spec, vision.state_dict())

        def cache(name: str, alone: bool) -> FeatureCache:
            return FeatureCache(
                folder,
                f"{key}-{str(dtype).removeprefix('torch.')}{name}",
                encode,
                width=vision.width,
                to_pixels=lambda image: cut.tiles(image.open(), alone=alone),
                batch=together,
            )

        self.cache = cache("", alone=True)
        self.several = cache("-several", alone=False) if cut.sized else self.cache  # seen otherwise among others

    def rows(self, samples: Sequence[Sequence[ImageRef]]) -> list[Tensor]:
        """Features `(patches, width)` of each sample's images; no rows for a sample without images."""
        alone, several = ([i if (len(i) == 1) == one else () for i in samples] for one in (True, False))
        pairs = zip(self.cache.rows(alone), self.several.rows(several), strict=True)
        return [torch.cat(pair).to(torch.float32) for pair in pairs]

    def encode(self, images: Sequence[ImageRef]) -> Tensor:
        """Features `(patches, width)` of one question's images, one after the other."""
        return self.rows([images])[0]

    def encode_each(self, images: Sequence[ImageRef]) -> Tensor:
        """Features `(tiles, patches, width)` of images that the text places."""
        return self.encode(images).unflatten(0, (-1, self.patches))
