"""From a picture to a vision encoder's pixels: resize, crop, rescale, normalise, with Pillow and torch alone.

The steps and their rounding are those of the Hub's image processors (ViT, CLIP, SigLIP, BLIP, ConvNeXT for ResNet,
DETR), so that published weights see what they were trained on. No step depends on chance.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sepiola.data.image import as_rgb
from sepiola.specs.vision import PixelSpec

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
_THIN = 32  # times longer than wide
_REACH = 3  # pixels to either side that the widest filter looks at


def to_pixels(image: Image.Image, spec: PixelSpec) -> Tensor:
    """Pixels `(3, height, width)`, float32, of a picture of any size; modes other than RGB are converted, and
    transparency is laid on white.

    Height and width are `spec.size`, except in mode `fit`, which keeps the picture's aspect.
    """
    image = as_rgb(image)
    return normalised(_resize(squared(image, spec) if spec.pad else image, spec), spec)


def squared(image: Image.Image, spec: PixelSpec) -> Image.Image:
    """The picture in the middle of a square of the mean colour."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), tuple(int(value * 255) for value in spec.mean))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def normalised(image: Image.Image, spec: PixelSpec) -> Tensor:
    """Pixels `(3, height, width)` of an RGB picture that has its size already."""
    values = np.asarray(image).transpose(2, 0, 1).astype(np.float32, order="C")
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (spec.mean, spec.std))
    values /= np.float32(255)
    values -= mean
    values /= std
    return torch.from_numpy(values)


def _resize(image: Image.Image, spec: PixelSpec) -> Image.Image:
    kind = FILTERS[spec.filter]
    if spec.mode == "squash":
        return image.resize((spec.size, spec.size), kind)
    if spec.mode == "fit":
        return image.resize(_fitted(image.size, spec), kind)
    return _crop(image, spec, kind)


def _crop(image: Image.Image, spec: PixelSpec, kind: Image.Resampling) -> Image.Image:
    """The centre of the resized picture. Of a thin one, which would grow huge, nothing else is computed.

    Each side then has a pass of its own, because a pass over both with a box is not what Pillow's resize and crop give.
    """
    short = min(image.size)
    width, height = (_scaled(side, short, spec) for side in image.size)
    if max(width, height) <= _THIN * spec.size:
        x, y = (width - spec.size) // 2, (height - spec.size) // 2
        return image.resize((width, height), kind).crop((x, y, x + spec.size, y + spec.size))
    near, left, right = _window(image.width, short, spec)
    columns = image.crop((near[0], 0, near[1], image.height))
    columns = columns.resize((spec.size, image.height), kind, (left, 0, right, image.height))
    near, top, bottom = _window(image.height, short, spec)
    lines = columns.crop((0, near[0], spec.size, near[1]))
    return lines.resize((spec.size, spec.size), kind, (0, top, spec.size, bottom))


def _window(side: int, shorter: int, spec: PixelSpec) -> tuple[tuple[int, int], float, float]:
    """The pixels of this side that the crop is made of, and where among them it begins and ends.

    Pillow keeps a box in float32, in which the middle of a long side has no place that is exact enough.
    """
    start, end = _centre(side, shorter, spec)
    margin = math.ceil(_REACH * max(1.0, (end - start) / spec.size)) + 1
    near = (max(0, math.floor(start) - margin), min(side, math.ceil(end) + margin))
    return near, start - near[0], end - near[0]


def _centre(side: int, shorter: int, spec: PixelSpec) -> tuple[float, float]:
    """Where on this side of the picture the crop begins and ends, in its own pixels."""
    scaled = _scaled(side, shorter, spec)
    start = (scaled - spec.size) // 2
    return start * side / scaled, min((start + spec.size) * side / scaled, side)


def _scaled(side: int, shorter: int, spec: PixelSpec) -> int:
    return int((spec.resize or spec.size) * side / shorter)


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
