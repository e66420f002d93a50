"""The canvas of Tidepool: a few shapes in units of 1/64 of the picture, drawn large with Pillow and reduced.

No fonts and no floating-point filters take part, so the pixels are the same on every machine
(the packing of the PNG is zlib's own).
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

Rgb = tuple[int, int, int]
Point = tuple[float, float]

UNITS = 64
INK: Rgb = (55, 55, 60)
WHITE: Rgb = (255, 255, 255)
PALETTE: dict[str, Rgb] = {
    "red": (226, 40, 40),
    "yellow": (250, 205, 20),
    "green": (30, 160, 62),
    "blue": (42, 88, 224),
    "purple": (152, 52, 190),
    "black": (32, 32, 36),
}


class Canvas:
    """A square picture. Coordinates run from 0 to 64, x to the right and y down, whatever the size in pixels.

    `style` decides what no question asks about: the tint of the ground and small shifts of the palette.
    """

    def __init__(self, size: int, style: random.Random) -> None:
        self._oversample = 3 if size < 96 else 2
        self._scale = size * self._oversample / UNITS
        self.ground: Rgb = (style.randint(222, 255), style.randint(222, 255), style.randint(222, 255))
        self.palette: dict[str, Rgb] = {
            name: (_near(r, style), _near(g, style), _near(b, style)) for name, (r, g, b) in PALETTE.items()
        }
        self._image = Image.new("RGB", (size * self._oversample,) * 2, self.ground)
        self._draw = ImageDraw.Draw(self._image)

    def image(self) -> Image.Image:
        """The picture as RGB at its final size."""
        return self._image.reduce(self._oversample)

    def png(self) -> bytes:
        """The picture as PNG, packed for speed rather than for size."""
        buffer = io.BytesIO()
        self.image().save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()

    def polygon(self, points: Sequence[Point], fill: Rgb, outline: float = 0) -> None:
        """A filled polygon with a dark outline `outline` units wide."""
        pixels = self._pixels(points)
        self._draw.polygon(pixels, fill=fill)
        if outline:
            self._draw.line([*pixels, pixels[0], pixels[1]], fill=INK, width=self._width(outline), joint="curve")

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, fill: Rgb, outline: float = 0) -> None:
        """A filled rectangle with a dark outline."""
        width = self._width(outline) if outline else 0
        self._draw.rectangle(self._pixels([(x0, y0), (x1, y1)]), fill=fill, outline=INK, width=width)

    def outline(self, x0: float, y0: float, x1: float, y1: float, width: float) -> None:
        """A dark frame without a filling."""
        self._draw.rectangle(self._pixels([(x0, y0), (x1, y1)]), outline=INK, width=self._width(width))

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Rgb, outline: float = 0) -> None:
        """A filled ellipse around (x, y) with a dark outline."""
        width = self._width(outline) if outline else 0
        self._draw.ellipse(self._pixels([(x - rx, y - ry), (x + rx, y + ry)]), fill=fill, outline=INK, width=width)

    def line(self, points: Sequence[Point], colour: Rgb, width: float) -> None:
        """A line through the points, with rounded joints."""
        self._draw.line(self._pixels(points), fill=colour, width=self._width(width), joint="curve")

    def arrow(self, start: Point, end: Point, colour: Rgb, width: float = 3, head: float = 8) -> None:
        """An arrow whose tip is at `end`; the head is `head` units long and as wide."""
        (x0, y0), (x1, y1) = start, end
        length = math.hypot(x1 - x0, y1 - y0)
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        neck_x, neck_y = x1 - head * ux, y1 - head * uy
        self.line([start, (neck_x + ux, neck_y + uy)], colour, width)
        side_x, side_y = -uy * head / 2, ux * head / 2
        self.polygon([end, (neck_x + side_x, neck_y + side_y), (neck_x - side_x, neck_y - side_y)], colour)

    def shape(self, name: str, x: float, y: float, radius: float, colour: str, fill: str = "plain") -> None:
        """A circle, square, triangle, star or heart around (x, y), `2 * radius` units wide."""
        rgb = self.palette[colour]
        if name == "circle":
            self.ellipse(x, y, radius, radius, rgb, outline=1)
        else:
            self.polygon([(x + radius * dx, y + radius * dy) for dx, dy in OUTLINES[name]], rgb, outline=1)
        if fill == "plain":
            return
        for dx, dy in _MARKS[name, fill]:
            if fill == "dotted":
                self.ellipse(x + radius * dx, y + radius * dy, radius * 0.2, radius * 0.2, WHITE)
            else:
                y0 = y + radius * dy
                self.line([(x - radius * dx, y0), (x + radius * dx, y0)], WHITE, radius * 0.26)

    def _pixels(self, points: Sequence[Point]) -> list[tuple[int, int]]:
        return [(round(x * self._scale), round(y * self._scale)) for x, y in points]

    def _width(self, units: float) -> int:
        return max(1, round(units * self._scale))


def _near(channel: int, style: random.Random) -> int:
    return min(255, max(0, channel + style.randint(-14, 14)))


def _star() -> list[Point]:
    points = []
    for corner in range(10):
        reach = 1.1 if corner % 2 == 0 else 0.5
        angle = math.pi * corner / 5
        points.append((reach * math.sin(angle), 0.08 - reach * math.cos(angle)))
    return points


def _heart() -> list[Point]:
    points = []
    for step in range(24):
        angle = 2 * math.pi * step / 24
        x = 16 * math.sin(angle) ** 3
        y = 13 * math.cos(angle) - 5 * math.cos(2 * angle) - 2 * math.cos(3 * angle) - math.cos(4 * angle)
        points.append((x / 16, -(y + 2.5) / 14.5))
    return points


# Corner points of each shape on a square from -1 to 1.
OUTLINES: dict[str, list[Point]] = {
    "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
    "triangle": [(0, -1), (1, 0.85), (-1, 0.85)],
    "star": _star(),
    "heart": _heart(),
}
# Where the white marks of a fill lie: half length and height of a stripe, or the centre of a dot.
_DOTS = [(-0.38, -0.38), (0.38, -0.38), (-0.38, 0.38), (0.38, 0.38), (0.0, 0.0)]
_MARKS: dict[tuple[str, str], list[Point]] = {
    ("circle", "striped"): [(0.7, -0.5), (0.86, 0.0), (0.7, 0.5)],
    ("square", "striped"): [(0.78, -0.5), (0.78, 0.0), (0.78, 0.5)],
    ("triangle", "striped"): [(0.2, -0.35), (0.42, 0.08), (0.65, 0.5)],
    ("star", "striped"): [(0.72, -0.2), (0.4, 0.2), (0.45, 0.6)],
    ("heart", "striped"): [(0.82, -0.45), (0.72, 0.0), (0.35, 0.42)],
    ("circle", "dotted"): _DOTS,
    ("square", "dotted"): _DOTS,
    ("triangle", "dotted"): [
        (0.0, -0.35),
        (-0.28, 0.12),
        (0.28, 0.12),
        (-0.54, 0.56),
        (0.0, 0.56),
        (0.54, 0.56),
    ],
    ("star", "dotted"): [(0.0, -0.6), (-0.55, -0.15), (0.55, -0.15), (0.0, 0.05), (-0.38, 0.6), (0.38, 0.6)],
    ("heart", "dotted"): [(-0.5, -0.42), (0.5, -0.42), (-0.35, 0.05), (0.35, 0.05), (0.0, 0.5), (0.0, -0.2)],
}
