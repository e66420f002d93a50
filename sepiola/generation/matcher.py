"""How well pictures and texts go together: by a dual encoder's vectors, or by a Q-Former that looks twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sepiola.data.image import AnyImage, ImageRef
from sepiola.data.pairs import lay_texts
from sepiola.errors import DataError, SepiolaError
from sepiola.models.bridges.qformer import QFormer
from sepiola.models.multimodal.dual import DualEncoder
from sepiola.models.multimodal.vision_language import VisionLanguageModel, vision_of
from sepiola.models.vision.pixels import to_pixels
from sepiola.specs.vision import PixelSpec
from sepiola.text.encoding import encode_whole
from sepiola.text.tokenizer import Tokenizer

BATCH = 64
NOTHING = "there is nothing to compare: give at least one picture and one text"
BELOW = 100.0
"""What pairs that are looked at once lose against those that are looked at twice: more than both scores reach."""

Item = TypeVar("Item")


class Compares(Protocol):
    """Whatever tells how well pictures and texts go together."""

    def scores(self, images: Sequence[AnyImage], texts: Sequence[str]) -> Tensor:
        """Numbers `(images, texts)`: higher where a picture and a text go together."""


class Matcher:
    """A dual encoder with its tokenizer; `pixels` says how a picture is read."""

    def __init__(self, network: DualEncoder, tokenizer: Tokenizer, pixels: PixelSpec) -> None:
        self.network = network.eval()
        self.tokenizer = tokenizer
        self.pixels = pixels

    @torch.inference_mode()
    def images(self, images: Sequence[AnyImage]) -> Tensor:
        """Vectors `(images, width)` of length 1; an image is whatever `ImageRef.of` takes."""
        return torch.cat([self.network.image(pixels) for pixels in _pixels(images, self.network.vision, self.pixels)])

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
    def scores(self, images: Sequence[AnyImage], texts: Sequence[str]) -> Tensor:
        """Logits `(images, texts)`: higher where a picture and a text go together."""
        scores: Tensor = self.network.bridge(self.images(images), self.texts(texts))
        return scores


class QueryMatcher:
    """A vision encoder and a Q-Former after its first stage, as BLIP-2 retrieves (arXiv 2301.12597, section 4.4): all
    pairs are compared by their vectors, and the `again` nearest of each picture and of each text looked at once more,
    by the head that was taught to match.
    """

    def __init__(
        self, network: VisionLanguageModel, tokenizer: Tokenizer, pixels: PixelSpec, *, again: int = 32
    ) -> None:
        network.eval()
        assert isinstance(network.bridge, QFormer)
        self.bridge = network.bridge
        self.vision = vision_of(network)
        self.tokenizer = tokenizer
        self.pixels = pixels
        self.again = again

    @torch.inference_mode()
    def scores(self, images: Sequence[AnyImage], texts: Sequence[str]) -> Tensor:
        """Numbers `(images, texts)`: the cosine, and for pairs looked at again their logit above it; others rank below.

        A text too long for the Q-Former loses its tail.
        """
        bridge, vision = self.bridge, self.vision
        features = torch.cat([vision(pixels) for pixels in _pixels(images, vision, self.pixels)])
        tokens = self._tokens(texts).to(features.device)
        looks = torch.cat([bridge.image_vectors(some) for some in features.split(BATCH)])
        read = torch.cat([bridge.text_vectors(some) for some in tokens.split(BATCH)])
        alike = torch.stack([(vectors @ read.t()).amax(0) for vectors in looks]).float()
        near = torch.zeros_like(alike, dtype=torch.bool)
        for side in (0, 1):
            near.scatter_(side, alike.topk(min(self.again, alike.shape[side]), dim=side).indices, value=True)
        pairs = near.nonzero()
        matched = [bridge.match(features[some[:, 0]], tokens[some[:, 1]])[:, 1] for some in pairs.split(BATCH)]
        scores = alike - BELOW
        scores[near] = alike[near] + torch.cat(matched).float()
        return scores

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids `(texts, tokens)`, opened and closed as the first stage was taught to read them."""
        spec = self.bridge.spec.text
        assert spec is not None
        encoded = self.tokenizer.encode_batch([*texts], plain=True)
        rows = [torch.tensor([spec.start, *ids[: spec.length - 2], spec.end]) for ids in encoded]
        if not rows:
            raise DataError(NOTHING)
        return pad_sequence(rows, batch_first=True, padding_value=spec.pad)


def dual_encoder(network: nn.Module) -> DualEncoder:
    """The network, if it is a dual encoder. Raises SepiolaError for another."""
    if not isinstance(network, DualEncoder):
        raise SepiolaError("this model is no dual encoder: it does not compare pictures with texts")
    return network


def retriever(network: nn.Module, tokenizer: Tokenizer, pixels: PixelSpec) -> Compares:
    """What compares pictures with texts by this network. Raises SepiolaError for one that does not."""
    bridge = network.bridge if isinstance(network, VisionLanguageModel) else None
    if isinstance(network, VisionLanguageModel) and isinstance(bridge, QFormer) and bridge.heads is not None:
        return QueryMatcher(network, tokenizer, pixels)
    return Matcher(dual_encoder(network), tokenizer, pixels)


def _pixels(images: Sequence[AnyImage], vision: nn.Module, spec: PixelSpec) -> Iterator[Tensor]:
    """Pixels of some images at a time, as the vision encoder reads them."""
    weight = next(vision.parameters())
    for some in _batches(images):
        pixels = torch.stack([to_pixels(ImageRef.of(image).open(), spec) for image in some])
        yield pixels.to(weight.device, weight.dtype)


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    if not items:
        raise DataError(NOTHING)
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
