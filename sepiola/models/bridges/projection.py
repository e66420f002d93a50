"""Image patches as tokens of the language model: MiniGPT-4's linear layer, LLaVA's MLP, SmolVLM's pixel shuffle."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from sepiola.errors import DataError, SpecError
from sepiola.models.multimodal.prefix import PrefixModel, TokenBridge
from sepiola.models.multimodal.vision_language import LanguageNetwork
from sepiola.models.vision.tiles import AnyRes, tiling
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.nn.feedforward import ACTIVATIONS
from sepiola.specs.bridge import ProjectionSpec
from sepiola.specs.model import ModelSpec


class Projection(TokenBridge):
    """Features `(images, patches, image_width)` to tokens `(images, tokens, width)`; `tokens` of each image."""

    def __init__(self, spec: ProjectionSpec, width: int, image_width: int, patches: int) -> None:
        super().__init__()
        self.spec = spec
        self.shuffle = spec.shuffle
        self.neighbours = spec.neighbours
        self.tokens = patches // (spec.shuffle**2 * spec.neighbours)
        side = math.isqrt(patches)
        if spec.shuffle > 1 and (side * side != patches or side % spec.shuffle):
            raise SpecError(
                f"bridge.shuffle {spec.shuffle}: the vision encoder gives {patches} patches, which are no "
                f"square of a side that {spec.shuffle} divides"
            )
        if patches % spec.neighbours:
            raise SpecError(
                f"bridge.neighbours {spec.neighbours}: the vision encoder gives {patches} patches, no multiple of it"
            )
        widths = [image_width * spec.shuffle**2 * spec.neighbours, *[width] * spec.layers]
        layers = [nn.Linear(into, out, bias=spec.bias) for into, out in pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        self.activation = ACTIVATIONS[spec.activation]
        for layer in layers:
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        first, *more = self.layers
        groups = shuffled(features, self.shuffle).unflatten(1, (self.tokens, self.neighbours)).flatten(2)
        x: Tensor = first(groups)
        for layer in more:
            x = layer(self.activation(x))
        return x


class AnyResProjection(Projection):
    """The tokens of a picture's tiles laid out as one map (LLaVA-OneVision), whose lines `newline` ends.

    What the tiles' borders added is left out, and a large map is scaled down (`sepiola.models.vision.tiles`).
    """

    def __init__(self, spec: ProjectionSpec, width: int, image_width: int, patches: int, tiling: AnyRes) -> None:
        super().__init__(spec, width, image_width, patches)
        side = math.isqrt(self.tokens)
        if side * side != self.tokens:
            raise SpecError(
                f"tiles of kind 'anyres' need a vision encoder whose patches are a square; it gives {patches}"
            )
        self.tiling, self.side = tiling, side
        self.newline = nn.Parameter(torch.empty(width))
        if not self.newline.is_meta:
            nn.init.normal_(self.newline, std=width**-0.5)

    def forward(self, features: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Tokens `(1, tokens, width)` of all pictures in a line, from features of their tiles `(tiles, patches, width)`
        and their `sizes` `(pictures, 2)`, height and width; zeros for a picture of one tile. Without sizes all are so.

        Raises DataError when sizes and tiles do not match in number.
        """
        return self.laid_out(super().forward(features), sizes)

    def laid_out(self, x: Tensor, sizes: Tensor | None) -> Tensor:
        """The same from the tokens of the tiles `(tiles, tokens, width)`."""
        at, parts = 0, list[Tensor]()
        pictures = [(0, 0)] * len(x) if sizes is None else [(int(h), int(w)) for h, w in sizes.tolist()]
        grids = [self.tiling.grid(size) if all(size) else (0, 0) for size in pictures]
        if (expected := sum(rows * columns + 1 for rows, columns in grids)) != len(x):
            raise DataError(f"{len(x)} tiles were given; pictures of sizes {pictures} make {expected}")
        for size, (rows, columns) in zip(pictures, grids, strict=True):
            whole, tiles = x[at], x[at + 1 : at + 1 + rows * columns]
            at += 1 + len(tiles)
            parts += [whole, self._lines(tiles, size) if len(tiles) else self.newline[None].to(x.dtype)]
        return torch.cat(parts)[None]

    def _lines(self, tiles: Tensor, size: tuple[int, int]) -> Tensor:
        layout, side, width = self.tiling.layout(size, self.side), self.side, tiles.shape[-1]
        x = tiles.view(*layout.grid, side, side, width).transpose(1, 2)
        x = x.reshape(layout.grid[0] * side, layout.grid[1] * side, width)
        x = x[layout.top : len(x) - layout.top, layout.left : x.shape[1] - layout.left]
        if x.shape[:2] != layout.map:
            x = nn.functional.interpolate(x.permute(2, 0, 1)[None], layout.map, mode="bilinear")[0].permute(1, 2, 0)
        ends = self.newline.to(x.dtype).expand(len(x), 1, width)
        return torch.cat((x, ends), dim=1).flatten(0, 1)


def shuffled(features: Tensor, by: int) -> Tensor:
    """Squares of `by × by` patches as one `(images, patches / by², width * by²)`, line by line (Idefics3)."""
    if by == 1:
        return features
    images, patches, width = features.shape
    grid = math.isqrt(patches) // by
    squares = features.view(images, grid, by, grid, by, width).transpose(2, 3)
    return squares.reshape(images, grid * grid, by * by * width)


def assemble(spec: ModelSpec, language: LanguageNetwork | None, vision: VisionEncoder | None) -> PrefixModel:
    """The whole model of a spec whose bridge is a projection."""
    assert isinstance(spec.bridge, ProjectionSpec) and language is not None and vision is not None
    cut, shape = tiling(vision.spec.pixels), (spec.bridge, language.spec.width, vision.width, vision.patches)
    bridge = AnyResProjection(*shape, cut) if isinstance(cut, AnyRes) else Projection(*shape)
    return PrefixModel(language, bridge, vision, spec.bridge.token, cut)
