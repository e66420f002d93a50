"""From a picture to a vision encoder's pixels, by Pillow and numpy alone: resize, crop, rescale, normalise; in one tile
or several, and the run of tokens that stands for them in a prompt.

Steps and rounding are those of `sepiola.models.vision` (`pixels`, `tiles`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Size = tuple[int, int]
"""Height and width."""

Run = list[int | str]
"""What stands for a picture in a prompt: placeholder ids, and text in which names of special tokens count."""

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
FAKE, GLOBAL = "<fake_token_around_image>", "<global-img>"
"""Marks of Idefics3: around tiles, and before the whole picture."""
SIDE = 1 << 14
"""Pixels of a side, at most: what a damaged folder asks beyond is no picture."""
_THIN = 32  # times longer than wide
_REACH = 3  # pixels to either side that the widest filter looks at


class Tiling:
    """A picture is one tile, whatever its size."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.size, self.mode, self.pad = int(raw["size"]), str(raw["mode"]), bool(raw["pad"])
        self.resize = int(raw["resize"] or self.size)
        self.longest = int(raw["longest"] or self.size)
        sides = (self.size, self.resize, self.longest)
        if self.mode not in ("squash", "crop", "fit") or not 1 <= min(sides) <= max(sides) <= SIDE:
            raise ValueError(f"mode {self.mode!r}, size {self.size}, resize {self.resize}, longest {self.longest}")
        self.filter = FILTERS[raw["filter"]]
        self.mean, self.std = (np.array(raw[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all() and (self.std > 0).all()):
            raise ValueError(f"mean {raw['mean']!r}, std {raw['std']!r}")
        self.colour = tuple(int(value * 255) for value in raw["mean"])

    def tiles(self, image: Image.Image, *, alone: bool = True) -> Floats:
        """Pixels `(tiles, 3, height, width)` of a picture in RGB that is `alone` in its prompt or not."""
        return self._normalised([self._resized(self._squared(image) if self.pad else image)])

    def run(self, size: Size, token: int, tokens: int, *, alone: bool = True) -> Run:
        """The run for a picture of a size: `token` is the placeholder's id, `tokens` how many a tile takes."""
        return [token] * tokens

    def laid_out(self, vectors: Floats, size: Size, newline: Floats) -> Floats:
        """The vectors of a picture's tiles `(tiles, tokens, width)` as they stand in the text, `(tokens, width)`."""
        return vectors.reshape(-1, vectors.shape[-1])

    def _cut(self, image: Image.Image) -> list[Image.Image]:
        """The tiles of a picture of whole tiles, line by line."""
        side = self.size
        if image.size == (side, side):
            return [image]
        corners = [(x, y) for y in range(0, image.height, side) for x in range(0, image.width, side)]
        return [image.crop((x, y, x + side, y + side)) for x, y in corners]

    def _normalised(self, tiles: Sequence[Image.Image]) -> Floats:
        values = np.empty((len(tiles), 3, tiles[0].height, tiles[0].width), np.float32)
        for value, tile in zip(values, tiles, strict=True):
            value[:] = np.asarray(tile).transpose(2, 0, 1)
        values /= np.float32(255)
        values -= self.mean
        values /= self.std
        return values

    def _squared(self, image: Image.Image) -> Image.Image:
        """The picture in the middle of a square of the mean colour."""
        side = max(image.size)
        square = Image.new("RGB", (side, side), self.colour)
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return square

    def _resized(self, image: Image.Image) -> Image.Image:
        if self.mode == "squash":
            return image.resize((self.size, self.size), self.filter)
        if self.mode == "fit":
            return image.resize(self._fitted(image.size), self.filter)
        return self._crop(image)

    def _crop(self, image: Image.Image) -> Image.Image:
        """The centre of the resized picture. Of a thin one, which would grow huge, nothing else is computed."""
        short, side = min(image.size), self.size
        width, height = (self._scaled(edge, short) for edge in image.size)
        if max(width, height) <= _THIN * side:
            x, y = (width - side) // 2, (height - side) // 2
            return image.resize((width, height), self.filter).crop((x, y, x + side, y + side))
        near, left, right = self._window(image.width, short)
        columns = image.crop((near[0], 0, near[1], image.height))
        columns = columns.resize((side, image.height), self.filter, (left, 0, right, image.height))
        near, top, bottom = self._window(image.height, short)
        lines = columns.crop((0, near[0], side, near[1]))
        return lines.resize((side, side), self.filter, (0, top, side, bottom))

    def _window(self, side: int, shorter: int) -> tuple[tuple[int, int], float, float]:
        """The pixels of this side that the crop is made of, and where among them it begins and ends."""
        scaled = self._scaled(side, shorter)
        first = (scaled - self.size) // 2
        start, end = first * side / scaled, min((first + self.size) * side / scaled, side)
        margin = math.ceil(_REACH * max(1.0, (end - start) / self.size)) + 1
        near = (max(0, math.floor(start) - margin), min(side, math.ceil(end) + margin))
        return near, start - near[0], end - near[0]

    def _scaled(self, side: int, shorter: int) -> int:
        return int(self.resize * side / shorter)

    def _fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height with the shorter side at `size`, or less if the longer would pass `longest`."""
        short, long = min(size), max(size)
        exact = min(self.size, self.longest * short / long)
        target = max(1, round(exact))
        if target == short and long <= self.longest:
            return size
        scaled = max(1, int(exact * long / short))
        return (target, scaled) if size[0] < size[1] else (scaled, target)


class Grid(Tiling):
    """Idefics3's and SmolVLM's: tiles line by line under special tokens of row and column, then the whole picture."""

    def __init__(self, raw: Mapping[str, Any], tiles: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.edge = int(tiles["longest"])
        if not 1 <= self.edge <= SIDE:
            raise ValueError(f"tiles.longest {self.edge}")

    def tiles(self, image: Image.Image, *, alone: bool = True) -> Floats:
        side, size = self.size, (image.height, image.width)
        rows, columns = self.grid(size)
        for height, width in (self._stretched(size), (rows * side, columns * side)):
            image = image if image.size == (width, height) else image.resize((width, height), self.filter)
        tiles = self._cut(image)
        return self._normalised([*tiles, image.resize((side, side), self.filter)] if len(tiles) > 1 else tiles)

    def run(self, size: Size, token: int, tokens: int, *, alone: bool = True) -> Run:
        rows, columns = self.grid(size)
        tile, parts = [token] * tokens, Run()
        if rows * columns > 1:
            for row in range(1, rows + 1):
                for column in range(1, columns + 1):
                    line = "\n" if column == 1 and row > 1 else ""
                    parts += [f"{line}{FAKE}<row_{row}_col_{column}>", *tile]
            parts += ["\n\n" + FAKE + GLOBAL]
        else:
            parts += [FAKE + GLOBAL]
        return [*parts, *tile, FAKE]

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns of tiles for a picture of this height and width."""
        side = self.size
        height, width = self._stretched(size)
        if width >= height:
            columns = math.ceil(width / side)
            return math.ceil(int(columns * side / (width / height)) / side), columns
        rows = math.ceil(height / side)
        return rows, math.ceil(int(rows * side * (width / height)) / side)

    def _stretched(self, size: Size) -> Size:
        """The longest edge at `edge`, the other with the aspect kept, rounded up to an even number."""
        height, width = size
        aspect = width / height
        if width >= height:
            other = int(self.edge / aspect)
            return max(other + other % 2, 1), self.edge
        other = int(self.edge * aspect)
        return self.edge, max(other + other % 2, 1)
