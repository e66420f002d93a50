"""DETR (arXiv 2005.12872): a ResNet's map, a Transformer encoder over it, and a decoder over learned queries.

Features are the decoder's final states, one for each query: what Multimodal-CoT takes from an image.
Positions (two-dimensional sines, and the queries' own embeddings) are added to queries and keys at every
layer, never to values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sepiola.models.vision.resnet import Backbone
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.nn.attend import attend, mask_bias
from sepiola.nn.feedforward import FeedForward
from sepiola.specs.bricks import FeedForwardSpec
from sepiola.specs.vision import DETRSpec


class Attention(nn.Module):
    """Multi-head attention whose queries, keys and values come from three different sums."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
        """`(batch, tokens, width)` from `queries`; `keys` and `values` are `(batch, positions, width)`."""
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (self.q(queries), self.k(keys), self.v(values))
        )
        return self.out(attend(q, k, v, bias, self.scale, 0.0))


class EncoderLayer(nn.Module):
    """Self-attention over the map and feed-forward, normalised after each sum."""

    def __init__(self, spec: DETRSpec) -> None:
        super().__init__()
        self.attention = Attention(spec.width, spec.encoder_heads or spec.heads)
        self.attention_norm = nn.LayerNorm(spec.width)
        self.feed_forward = _feed_forward(spec.width, spec.encoder_feed_forward or spec.feed_forward)
        self.feed_forward_norm = nn.LayerNorm(spec.width)

    def forward(self, x: Tensor, positions: Tensor, bias: Tensor | None) -> Tensor:
        placed = x + positions
        x = self.attention_norm(x + self.attention(placed, placed, x, bias))
        return self.feed_forward_norm(x + self.feed_forward(x))


class DecoderLayer(nn.Module):
    """Self-attention over the queries, cross-attention to the map, feed-forward."""

    def __init__(self, spec: DETRSpec) -> None:
        super().__init__()
        self.attention = Attention(spec.width, spec.heads)
        self.attention_norm = nn.LayerNorm(spec.width)
        self.cross = Attention(spec.width, spec.heads)
        self.cross_norm = nn.LayerNorm(spec.width)
        self.feed_forward = _feed_forward(spec.width, spec.feed_forward)
        self.feed_forward_norm = nn.LayerNorm(spec.width)

    def forward(self, x: Tensor, queries: Tensor, memory: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
        placed = x + queries
        x = self.attention_norm(x + self.attention(placed, placed, x))
        x = self.cross_norm(x + self.cross(x + queries, keys, memory, bias))
        return self.feed_forward_norm(x + self.feed_forward(x))


def _feed_forward(width: int, inner: int) -> FeedForward:
    return FeedForward(width, FeedForwardSpec(width=inner, activation="relu", bias=True))


class DETR(VisionEncoder):
    """Pixels `(batch, 3, height, width)` to features `(batch, queries, width)`."""

    spec: DETRSpec

    def __init__(self, spec: DETRSpec) -> None:
        super().__init__()
        self.spec = spec
        self.width = spec.width
        self.patches = spec.queries
        self.backbone = Backbone(spec.backbone)
        self.project = nn.Conv2d(self.backbone.width, spec.width, 1)
        self.encoder = nn.ModuleList(EncoderLayer(spec) for _ in range(spec.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(spec) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.width)
        self.queries = nn.Embedding(spec.queries, spec.width)
        if self.queries.weight.device.type != "meta":
            self._initialise()

    def _initialise(self) -> None:
        for part in (self.encoder, self.decoder):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def forward(self, pixels: Tensor, *, pixel_mask: Tensor | None = None) -> Tensor:
        """Features `(batch, queries, width)`.

        `pixel_mask` `(batch, height, width)` is 1 where a picture is and 0 on the padding to its right and
        below it.
        """
        maps, inside = self._maps(pixels, pixel_mask)
        x = self.project(maps).flatten(2).transpose(1, 2)
        positions = sine_positions(inside, self.width).to(x.dtype)
        bias = None
        if pixel_mask is not None:
            visible = inside.flatten(1).long()
            bias = mask_bias(None, visible, causal=None, queries=1, keys=x.shape[1], dtype=x.dtype, device=x.device)
        for layer in self.encoder:
            x = layer(x, positions, bias)
        keys = x + positions
        queries = self.queries.weight.expand(x.shape[0], -1, -1)
        states = torch.zeros_like(queries)
        for layer in self.decoder:
            states = layer(states, queries, x, keys, bias)
        return self.norm(states)

    def _maps(self, pixels: Tensor, pixel_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The backbone's maps `(batch, width, rows, columns)`; what is picture in them `(batch | 1, rows,
        columns)`.

        With a mask every picture runs through the backbone at its own size, so that what a batch pads it with
        never reaches its border and its features do not depend on its neighbours.
        """
        if pixel_mask is None:
            maps = self.backbone(pixels)
            return maps, maps.new_ones((1, *maps.shape[2:]), dtype=torch.bool)
        sizes = [(int(mask[:, 0].sum()), int(mask[0].sum())) for mask in pixel_mask]
        alone = [
            self.backbone(picture[None, :, :height, :width])[0]
            for picture, (height, width) in zip(pixels, sizes, strict=True)
        ]
        rows, columns = max(m.shape[1] for m in alone), max(m.shape[2] for m in alone)
        maps = alone[0].new_zeros((len(alone), alone[0].shape[0], rows, columns))
        inside = torch.zeros((len(alone), rows, columns), dtype=torch.bool, device=pixels.device)
        for index, one in enumerate(alone):
            maps[index, :, : one.shape[1], : one.shape[2]] = one
            inside[index, : one.shape[1], : one.shape[2]] = True
        return maps, inside


def sine_positions(inside: Tensor, width: int, temperature: float = 10_000.0) -> Tensor:
    """Sines and cosines of row and column `(batch, rows * columns, width)`, scaled so that a picture spans
    2π.

    `inside` `(batch, rows, columns)` is true where the picture is; row and column are counted over it.
    """
    half = width // 2
    index = torch.arange(half, device=inside.device)
    periods = temperature ** (2 * index.div(2, rounding_mode="floor") / half)
    parts = []
    for axis in (1, 2):
        place = inside.cumsum(axis, dtype=torch.float32)
        last = place.narrow(axis, place.shape[axis] - 1, 1)
        angles = (place / (last + 1e-6) * 2 * math.pi)[..., None] / periods
        parts.append(torch.stack((angles[..., 0::2].sin(), angles[..., 1::2].cos()), dim=-1).flatten(-2))
    return torch.cat(parts, dim=-1).flatten(1, 2)
