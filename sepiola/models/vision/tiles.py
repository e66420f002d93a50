"""Large pictures in tiles of the vision encoder's size: how they are cut, and the run of tokens that stands for them in
a prompt.

The steps and their rounding are those of the Hub's image processors of Idefics3 and SmolVLM (arXiv 2408.12637) and of
LLaVA-OneVision (2408.03326).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from sepiola.data.image import ImageRef
from sepiola.models.vision.pixels import FILTERS, normalised, squared, to_pixels
from sepiola.specs.vision import AnyResSpec, GridSpec, PixelSpec

Size = tuple[int, int]
"""Height and width."""

ImageTokens = tuple[int | str, ...]
"""What stands for a picture in a prompt: placeholder ids, and text among which the vocabulary may name special tokens.
"""

TOGETHER = 4
"""Tiles that pass through a vision encoder at once."""

FAKE, GLOBAL = "<fake_token_around_image>", "<global-img>"
"""Marks of Idefics3: around tiles, and before the whole picture."""


def to_tiles(images: Sequence[ImageRef], spec: PixelSpec) -> list[Tensor]:
    """Pixels `(tiles, 3, height, width)`, float32, of each picture of one prompt; see `PixelSpec`."""
    return [tiling(spec).tiles(image.open(), alone=len(images) == 1) for image in images]


def tiling(spec: PixelSpec) -> Tiling:
    """How pictures are cut."""
    if isinstance(spec.tiles, GridSpec):
        return Grid(spec, spec.tiles)
    return Tiling(spec) if spec.tiles is None else AnyRes(spec, spec.tiles)


class Tiling:
    """A picture is one tile, whatever its size."""

    sized = False
    """Whether what a picture becomes depends on its size after the vision encoder too."""

    special_tokens: tuple[str, ...] = ()
    """Names that a tokenizer has for the text in runs."""

    def __init__(self, pixels: PixelSpec) -> None:
        self.pixels = pixels
        self.filter = FILTERS[pixels.filter]

    def tiles(self, image: Image.Image, *, alone: bool = True) -> Tensor:
        """Pixels `(tiles, 3, height, width)`, float32, of a picture that is `alone` in its prompt or not."""
        return to_pixels(image, self.pixels)[None]

    def image_tokens(self, images: Sequence[ImageRef], token: int, tokens: int) -> list[ImageTokens]:
        """The run for each picture of a prompt: `token` is the placeholder's id, `tokens` how many a tile takes."""
        return [(token,) * tokens for _ in images]

    def sizes(self, images: Sequence[ImageRef]) -> Tensor | None:
        """Heights and widths `(images, 2)` of a prompt's pictures where the model asks for them, else None."""
        return None

    def _normalised(self, tiles: Sequence[Image.Image]) -> Tensor:
        return torch.stack([normalised(tile, self.pixels) for tile in tiles])

    def _cut(self, image: Image.Image) -> list[Image.Image]:
        """The tiles of a picture of whole tiles, line by line."""
        side = self.pixels.size
        corners = [(x, y) for y in range(0, image.height, side) for x in range(0, image.width, side)]
        return [image.crop((x, y, x + side, y + side)) for x, y in corners]


class Grid(Tiling):
    """Idefics3's and SmolVLM's: tiles line by line under special tokens of row and column, then the whole picture."""

    def __init__(self, pixels: PixelSpec, spec: GridSpec) -> None:
        super().__init__(pixels)
        self.longest = spec.longest
        most = range(1, math.ceil(spec.longest / pixels.size) + 1)
        self.special_tokens = (FAKE, GLOBAL, *(f"<row_{row}_col_{column}>" for row in most for column in most))

    def tiles(self, image: Image.Image, *, alone: bool = True) -> Tensor:
        side = self.pixels.size
        fitted = self._fitted((image.height, image.width))
        rows, columns = self.grid((image.height, image.width))
        image = _resized(image.convert("RGB"), fitted, self.filter)
        image = _resized(image, (rows * side, columns * side), self.filter)
        tiles = self._cut(image)
        return self._normalised([*tiles, _resized(image, (side, side), self.filter)] if len(tiles) > 1 else tiles)

    def image_tokens(self, images: Sequence[ImageRef], token: int, tokens: int) -> list[ImageTokens]:
        return [self.marked(self.grid(image.size), token, tokens) for image in images]

    def marked(self, grid: tuple[int, int], token: int, tokens: int) -> ImageTokens:
        """The run for a picture of so many rows and columns of tiles."""
        rows, columns = grid
        tile, parts = (token,) * tokens, list[int | str]()
        if rows * columns > 1:
            for row in range(1, rows + 1):
                for column in range(1, columns + 1):
                    line = "\n" if column == 1 and row > 1 else ""
                    parts += [f"{line}{FAKE}<row_{row}_col_{column}>", *tile]
            parts += ["\n\n" + FAKE + GLOBAL]
        else:
            parts += [FAKE + GLOBAL]
        return (*parts, *tile, FAKE)

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns of tiles for a picture of this height and width."""
        side = self.pixels.size
        height, width = self._fitted(size)
        if width >= height:
            columns = math.ceil(width / side)
            return math.ceil(int(columns * side / (width / height)) / side), columns
        rows = math.ceil(height / side)
        return rows, math.ceil(int(rows * side * (width / height)) / side)

    def _fitted(self, size: Size) -> Size:
        """The longest edge at `longest`, the other with the aspect kept, rounded up to an even number."""
        height, width = size
        aspect = width / height
        if width >= height:
            other = int(self.longest / aspect)
            return max(other + other % 2, 1), self.longest
        other = int(self.longest * aspect)
        return self.longest, max(other + other % 2, 1)


class TileLayout(NamedTuple):
    """Where a picture's patches lie: `grid` of tiles, `top` and `left` borders cut off on either side, the `map`'s
    height and width in patches once it is scaled down."""

    grid: tuple[int, int]
    top: int
    left: int
    map: tuple[int, int]


class AnyRes(Tiling):
    """LLaVA-OneVision's: the whole picture, then its tiles; their patches are one map whose lines end with a token."""

    sized = True

    def __init__(self, pixels: PixelSpec, spec: AnyResSpec) -> None:
        super().__init__(pixels)
        self.grids, self.most = spec.grids, spec.most

    def tiles(self, image: Image.Image, *, alone: bool = True) -> Tensor:
        side = self.pixels.size
        image = image.convert("RGB")
        if not alone:
            return self._normalised([_resized(squared(image, self.pixels), (side, side), self.filter)])
        rows, columns = self.grid((image.height, image.width))
        height, width = rows * side, columns * side
        if width / image.width < height / image.height:
            fitted = (min(math.ceil(image.height * (width / image.width)), height), width)
        else:
            fitted = (height, min(math.ceil(image.width * (height / image.height)), width))
        padded = Image.new("RGB", (width, height))
        padded.paste(_resized(image, fitted, self.filter), ((width - fitted[1]) // 2, (height - fitted[0]) // 2))
        return self._normalised([_resized(image, (side, side), self.filter), *self._cut(padded)])

    def image_tokens(self, images: Sequence[ImageRef], token: int, tokens: int) -> list[ImageTokens]:
        if len(images) != 1:
            return [(token,) * (tokens + 1) for _ in images]
        height, width = self.layout(images[0].size, math.isqrt(tokens)).map
        return [(token,) * (tokens + height * (width + 1))]

    def sizes(self, images: Sequence[ImageRef]) -> Tensor | None:
        """Zeros stand for a picture that is not alone."""
        return torch.tensor([image.size if len(images) == 1 else (0, 0) for image in images]).view(-1, 2)

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns: the most of the picture's own pixels, with the least waste."""
        height, width = size
        best, most, least = self.grids[0], 0, math.inf
        for rows, columns in self.grids:
            room = (rows * self.pixels.size, columns * self.pixels.size)
            scale = min(room[1] / width, room[0] / height)
            used = min(int(width * scale) * int(height * scale), width * height)
            waste = room[0] * room[1] - used
            if used > most or (used == most and waste < least):
                best, most, least = (rows, columns), used, waste
        return best

    def layout(self, size: Size, side: int) -> TileLayout:
        """Where the patches of a picture lie, tiles having `side × side`."""
        height, width = size
        grid = self.grid(size)
        rows, columns = grid[0] * side, grid[1] * side
        top, left = 0, 0
        if width / height > columns / rows:
            top = (rows - int(round(height * (columns / width), 7))) // 2
        else:
            left = (columns - int(round(width * (rows / height), 7))) // 2
        rows, columns = rows - 2 * top, columns - 2 * left
        ratio = math.sqrt(rows * columns / (self.most * side**2))
        if ratio > 1.1:
            rows, columns = int(rows // ratio), int(columns // ratio)
        return TileLayout(grid, top, left, (rows, columns))


def _resized(image: Image.Image, size: Size, kind: Image.Resampling) -> Image.Image:
    return image.resize((size[1], size[0]), kind)
