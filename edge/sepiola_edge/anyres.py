"""Tiles of LLaVA-OneVision: the whole picture, then its tiles; what the core makes of them is one map, whose lines end
with a token.

Steps and rounding are those of `sepiola.models.vision.tiles.AnyRes` and `sepiola.models.bridges.projection`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from sepiola_edge.tiles import Floats, Run, Size, Tiling


class AnyRes(Tiling):
    """Of several pictures in one prompt each is one tile."""

    def __init__(self, raw: Mapping[str, Any], tiles: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.grids = [(int(rows), int(columns)) for rows, columns in tiles["grids"]]
        self.most = int(tiles["most"])
        if min([self.most, *(min(grid) for grid in self.grids)]) < 1 or not self.grids:
            raise ValueError(f"tiles {dict(tiles)}")

    def tiles(self, image: Image.Image, *, alone: bool = True) -> Floats:
        side = self.size
        if not alone:
            return self._normalised([self._squared(image).resize((side, side), self.filter)])
        rows, columns = self.grid((image.height, image.width))
        height, width = rows * side, columns * side
        if width / image.width < height / image.height:
            fitted = (min(math.ceil(image.height * (width / image.width)), height), width)
        else:
            fitted = (height, min(math.ceil(image.width * (height / image.height)), width))
        padded = Image.new("RGB", (width, height))
        stretched = image.resize((fitted[1], fitted[0]), self.filter)
        padded.paste(stretched, ((width - fitted[1]) // 2, (height - fitted[0]) // 2))
        return self._normalised([image.resize((side, side), self.filter), *self._cut(padded)])

    def run(self, size: Size, token: int, tokens: int, *, alone: bool = True) -> Run:
        if not alone:
            return [token] * (tokens + 1)
        _, _, (height, width) = self._layout(size, math.isqrt(tokens))
        return [token] * (tokens + height * (width + 1))

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns: the most of the picture's own pixels, with the least waste."""
        height, width = size
        best, most, least = self.grids[0], 0, math.inf
        for rows, columns in self.grids:
            room = (rows * self.size, columns * self.size)
            scale = min(room[1] / width, room[0] / height)
            used = min(int(width * scale) * int(height * scale), width * height)
            waste = room[0] * room[1] - used
            if used > most or (used == most and waste < least):
                best, most, least = (rows, columns), used, waste
        return best

    def laid_out(self, vectors: Floats, size: Size, newline: Floats) -> Floats:
        """The vectors of a picture's tiles `(tiles, tokens, width)` as they stand in the text, `(tokens, width)`."""
        whole, tiles = vectors[0], vectors[1:]
        if not len(tiles):
            return np.concatenate((whole, newline[None]))
        side, width = math.isqrt(vectors.shape[1]), vectors.shape[2]
        (top, left), (rows, columns), wanted = self._layout(size, side)
        x = tiles.reshape(rows, columns, side, side, width).transpose(0, 2, 1, 3, 4)
        x = x.reshape(rows * side, columns * side, width)
        x = x[top : len(x) - top, left : x.shape[1] - left]
        for axis in (0, 1):
            if x.shape[:2] != wanted:
                x = _stretched(x, axis, wanted[axis])
        lines = np.broadcast_to(newline, (len(x), 1, width))
        return np.concatenate((whole, np.concatenate((x, lines), axis=1).reshape(-1, width)))

    def _layout(self, size: Size, side: int) -> tuple[Size, Size, Size]:
        """The borders that are cut off, the grid, and the map in patches, tiles having `side × side`."""
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
        return (top, left), grid, (rows, columns)


def _stretched(x: Floats, axis: int, length: int) -> Floats:
    """Another length of one axis, by lines between neighbours."""
    before = x.shape[axis]
    places = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * np.float32(before / length) - np.float32(0.5)
    places = np.maximum(places, 0)
    first = places.astype(np.int64)
    share = (places - first).astype(np.float32).reshape([-1 if at == axis else 1 for at in range(x.ndim)])
    near, far = x.take(first, axis), x.take(np.minimum(first + 1, before - 1), axis)
    return near * (1 - share) + far * share
