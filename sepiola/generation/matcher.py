"""Pictures and texts under a dual encoder: vectors of each, and how well they go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from sepiola.data.image import ImageRef
from sepiola.data.pairs import lay_texts
from sepiola.errors import DataError
from sepiola.models.dual import DualEncoder
from sepiola.models.vision.pixels import to_pixels
from sepiola.specs.vision import PixelSpec
from sepiola.text.encoding import encode_whole
from sepiola.text.tokenizer import Tokenizer

BATCH = 64
Item = TypeVar("Item")


class Matcher:
    """A dual encoder with its tokenizer; `pixels` says how a picture is read."""

    def __init__(self, network: DualEncoder, tokenizer: Tokenizer, pixels: PixelSpec) -> None:
        self.network = network.eval()
        self.tokenizer = tokenizer
        self.pixels = pixels

    @torch.inference_mode()
    def images(self, images: Sequence[Any]) -> Tensor:
        """Vectors `(images, width)` of length 1; an image is whatever `ImageRef.of` takes."""
        weight = next(self.network.vision.parameters())
        rows = []
        for some in _batches(images):
            pixels = torch.stack([to_pixels(ImageRef.of(image).open(), self.pixels) for image in some])
            rows.append(self.network.image(pixels.to(weight.device, weight.dtype)))
        return torch.cat(rows)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors `(texts, width)` of length 1; a text too long for the positions loses its tail."""
        spec, device = self.network.spec, next(self.network.parameters()).device
        rows = []
        for some in _batches(texts):
            tokens, mask = lay_texts(encode_whole(some, self.tokenizer, spec), spec.tokens, self.network.text_length)
            rows.append(self.network.text(tokens.to(device), attention_mask=None if mask is None else mask.to(device)))
        return torch.cat(rows)

    @torch.inference_mode()
    def scores(self, images: Sequence[Any], texts: Sequence[str]) -> Tensor:
        """Logits `(images, texts)`: higher where a picture and a text go together."""
        scores: Tensor = self.network.bridge(self.images(images), self.texts(texts))
        return scores


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    if not items:
        raise DataError("there is nothing to compare: give at least one picture and one text")
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
