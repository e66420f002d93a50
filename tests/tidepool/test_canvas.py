"""The canvas: coordinates are those of the picture's 64 units whatever its size, and style moves only the palette."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from sepiola.tidepool.canvas import INK, PALETTE, WHITE, Canvas


@pytest.mark.parametrize("size", [64, 128])
def test_a_rectangle_lies_where_its_units_say(size: int) -> None:
    canvas = Canvas(size, random.Random(0))
    canvas.rectangle(16, 16, 48, 32, WHITE, outline=2)
    image = canvas.image()
    assert image.size == (size, size)
    unit = size // 64
    at = {(x, y): image.getpixel((x * unit, y * unit)) for x, y in ((32, 24), (8, 24), (32, 40), (16, 24))}
    assert at == {(32, 24): WHITE, (8, 24): canvas.ground, (32, 40): canvas.ground, (16, 24): INK}


@pytest.mark.parametrize("name", ["circle", "square", "triangle", "star", "heart"])
def test_a_shape_is_drawn_in_its_colour_and_fills_differ(name: str) -> None:
    drawn = {}
    for fill in ("plain", "striped", "dotted"):
        canvas = Canvas(64, random.Random(1))
        canvas.shape(name, 32, 32, 20, "red", fill)
        drawn[fill] = canvas.png()
    colours = dict((colour, n) for n, colour in Image.open(io.BytesIO(drawn["plain"])).getcolors(5000) or [])
    assert colours[canvas.palette["red"]] > 300
    assert len(set(drawn.values())) == 3


def test_the_same_style_is_the_same_picture_and_shifts_stay_small() -> None:
    one, same, other = (Canvas(64, random.Random(seed)) for seed in (3, 3, 4))
    assert one.png() == same.png() != other.png()
    for name, colour in PALETTE.items():
        assert all(abs(ours - base) <= 14 for ours, base in zip(one.palette[name], colour, strict=True))
