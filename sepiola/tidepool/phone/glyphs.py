"""Letters, digits and a few Chinese characters as dots and strokes of our own.

Tidepool uses no fonts, so that its pixels are the same on every machine. Latin letters and digits are dots, five wide
and seven high. The Chinese characters that signs need (receipt, menu, lost property, dates, money) are lines on a grid
from 0 to 10; any other character of a name is shown by its picture, not written.
"""

from __future__ import annotations

from sepiola.tidepool.canvas import INK, Canvas, Rgb

# Rows from top to bottom, five dots each, as bits.
_DOTS: dict[str, tuple[int, ...]] = {
    "0": (14, 17, 19, 21, 25, 17, 14), "1": (4, 12, 4, 4, 4, 4, 14), "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14), "4": (2, 6, 10, 18, 31, 2, 2), "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14), "7": (31, 1, 2, 4, 8, 8, 8), "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12), "-": (0, 0, 0, 31, 0, 0, 0), "$": (4, 15, 20, 14, 5, 30, 4),
    "A": (14, 17, 17, 31, 17, 17, 17), "D": (30, 17, 17, 17, 17, 17, 30), "E": (31, 16, 16, 30, 16, 16, 31),
    "F": (31, 16, 16, 30, 16, 16, 16), "L": (16, 16, 16, 16, 16, 16, 31), "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 21, 19, 17, 17, 17), "O": (14, 17, 17, 17, 17, 17, 14), "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4), "U": (17, 17, 17, 17, 17, 17, 14),
}  # fmt: skip
_STROKES: dict[str, tuple[tuple[float, ...], ...]] = {
    "月": ((2, 0, 8, 0, 8, 10, 7, 10), (2, 0, 2, 6, 0.5, 10), (2, 3.3, 8, 3.3), (2, 6.6, 8, 6.6)),
    "日": ((2, 0, 8, 0, 8, 10, 2, 10, 2, 0), (2, 5, 8, 5)),
    "元": ((2, 1, 8, 1), (0, 4.5, 10, 4.5), (3.5, 4.5, 3, 8, 0.5, 10), (6.5, 4.5, 6.5, 9.5, 9.5, 9.5, 9.5, 8)),
    "合": ((5, 0, 0, 4.5), (5, 0, 10, 4.5), (3, 4.5, 7, 4.5), (2.5, 6, 7.5, 6, 7.5, 10, 2.5, 10, 2.5, 6)),
    "计": ((1, 0.5, 2.5, 2), (0, 4, 2.5, 4, 2.5, 9.5, 4, 8), (4.5, 4, 10, 4), (7.2, 0, 7.2, 10)),
    "菜": (
        (0, 1.2, 10, 1.2), (3, 0, 3, 2.4), (7, 0, 7, 2.4), (8.5, 2.8, 1.5, 3.4), (2, 4, 2.6, 5.2), (5, 3.8, 5, 5.2),
        (8, 4, 7.2, 5.2), (0, 6.2, 10, 6.2), (5, 5.4, 5, 10), (5, 6.2, 0.5, 9.5), (5, 6.2, 9.5, 9.5),
    ),
    "单": (
        (3, 0, 4, 1.2), (7, 0, 6, 1.2), (2, 1.8, 8, 1.8, 8, 6.2, 2, 6.2, 2, 1.8), (2, 4, 8, 4), (0, 8, 10, 8),
        (5, 1.8, 5, 10),
    ),
    "失": ((3, 0, 1.5, 3.5), (2.4, 2, 8.5, 2), (0, 5, 10, 5), (5, 0, 5, 5, 3.5, 8, 0.5, 10), (5, 5, 9.5, 10)),
    "物": (
        (1.5, 0.5, 0.3, 3), (1, 2, 4, 2), (0, 6, 4.5, 5), (2.6, 0, 2.6, 10), (6, 0, 4.5, 4),
        (5.5, 2.2, 10, 2.2, 9.4, 9.6, 8, 9), (7.2, 2.2, 4.5, 7.5), (8.6, 2.2, 5, 9.8),
    ),
}  # fmt: skip


def draw_text(canvas: Canvas, text: str, x: float, y: float, height: float, ink: Rgb = INK) -> None:
    """Writes the text with its middle at `x` and its top at `y`, `height` units high. Raises KeyError for a character
    that has no glyph."""
    left = x - text_width(text, height) / 2
    for character in text:
        if character in _DOTS:
            _dots(canvas, _DOTS[character], left, y, height / 7, ink)
        else:
            for stroke in _STROKES[character]:
                points = zip(stroke[::2], stroke[1::2], strict=True)
                line = [(left + px * height / 10, y + py * height / 10) for px, py in points]
                canvas.line(line, ink, max(0.7, height / 11))
        left += _advance(character, height)


def text_width(text: str, height: float) -> float:
    """How wide the text is, in units."""
    return sum(_advance(character, height) for character in text) - height / 7


def _advance(character: str, height: float) -> float:
    return height * (6 / 7 if character in _DOTS else 8 / 7)


def _dots(canvas: Canvas, rows: tuple[int, ...], left: float, top: float, dot: float, ink: Rgb) -> None:
    for row, bits in enumerate(rows):
        column = 0
        while column < 5:
            end = column
            while end < 5 and bits >> (4 - end) & 1:
                end += 1
            if end > column:
                x, y = left + column * dot, top + row * dot
                canvas.rectangle(x, y, x + (end - column) * dot, y + dot, ink)
            column = end + 1
