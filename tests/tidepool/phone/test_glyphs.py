"""Glyphs: letters are as wide as they say, and what cannot be written is refused."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.phone.glyphs import draw_text, text_width


def written(text: str) -> np.ndarray:
    canvas = Canvas(128, random.Random(0))
    draw_text(canvas, text, 32, 20, 14)
    return np.asarray(canvas.image()).astype(int).sum(-1) < 300


@pytest.mark.parametrize("text", ["0", "188", "LOST", "12-9", "元", "合计", "8月3日"])
def test_a_text_stands_in_its_middle(text: str) -> None:
    rows, columns = np.nonzero(written(text))
    assert abs((columns.min() + columns.max()) / 2 - 64) < 5 and rows.min() >= 38 and rows.max() <= 70
    assert columns.max() - columns.min() <= 2 * text_width(text, 14) + 3


def test_no_two_glyphs_are_alike() -> None:
    drawn = [written(character) for character in "0123456789ADEFLMNOSTU月日元合计菜单失物"]
    for place, one in enumerate(drawn):
        assert all((one != other).sum() > 8 for other in drawn[place + 1 :])


def test_a_character_without_a_glyph_is_refused() -> None:
    with pytest.raises(KeyError):
        written("龙")
