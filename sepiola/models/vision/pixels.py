"""From a picture to a vision encoder's pixels: resize, crop, rescale, normalise, with Pillow and torch alone.

The steps and their rounding are those of the Hub's image processors (ViT, CLIP, ConvNeXT for ResNet, DETR),
so that published weights see what they were trained on. No step depends on chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sepiola.specs.vision import PixelSpec

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def to_pixels(image: Image.Image, spec: PixelSpec) -> Tensor:
    """Pixels `(3, height, width)`, float32, of a picture of any size; modes other than RGB are converted.

    Height and width are `spec.size`, except in mode `fit`, which keeps the picture's aspect.
    """
    return normalised(_resize(image if image.mode == "RGB" else image.convert("RGB"), spec), spec)


def normalised(image: Image.Image, spec: PixelSpec) -> Tensor:
    """Pixels `(3, height, width)` of a picture that has its size already."""
    values = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (spec.mean, spec.std))
    return ((values - mean) / std).contiguous()


def pad_pixels(pixels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """One batch `(batch, 3, height, width)` of pictures of several sizes, and its `pixel_mask` for DETR.

    Pictures stand at the top left, zeros fill the rest; the mask `(batch, height, width)` is 1 on pictures.
    """
    height, width = (max(p.shape[axis] for p in pixels) for axis in (1, 2))
    batch = pixels[0].new_zeros((len(pixels), 3, height, width))
    mask = torch.zeros((len(pixels), height, width), dtype=torch.long)
    for index, one in enumerate(pixels):
        batch[index, :, : one.shape[1], : one.shape[2]] = one
        mask[index, : one.shape[1], : one.shape[2]] = 1
    return batch, mask


def _resize(image: Image.Image, spec: PixelSpec) -> Image.Image:
    kind = FILTERS[spec.filter]
    if spec.mode == "squash":
        return image.resize((spec.size, spec.size), kind)
    if spec.mode == "fit":
        return image.resize(_fitted(image.size, spec), kind)
    return _crop(image, spec, kind)


def _crop(image: Image.Image, spec: PixelSpec, kind: Image.Resampling) -> Image.Image:
    """The centre of the resized picture, and only it is computed: a thin picture would else grow huge.

    Each side has a pass of its own, because a pass over both with a box is not what Pillow's resize and
    crop give.
    """
    width, height = image.size
    left, right = _centre(width, min(image.size), spec)
    top, bottom = _centre(height, min(image.size), spec)
    columns = image.resize((spec.size, height), kind, (left, 0, right, height))
    return columns.resize((spec.size, spec.size), kind, (0, top, spec.size, bottom))


def _centre(side: int, shorter: int, spec: PixelSpec) -> tuple[float, float]:
    """Where on this side of the picture the crop begins and ends, in its own pixels."""
    scaled = int((spec.resize or spec.size) * side / shorter)
    start = (scaled - spec.size) // 2
    return start * side / scaled, min((start + spec.size) * side / scaled, side)


def _fitted(size: tuple[int, int], spec: PixelSpec) -> tuple[int, int]:
    """Width and height with the shorter side at `spec.size`, or less if the longer would pass
    `spec.longest`."""
    assert spec.longest is not None
    short, long = min(size), max(size)
    exact = min(spec.size, spec.longest * short / long)
    target = max(1, round(exact))
    if target == short and long <= spec.longest:
        return size
    scaled = max(1, int(exact * long / short))
    return (target, scaled) if size[0] < size[1] else (scaled, target)
