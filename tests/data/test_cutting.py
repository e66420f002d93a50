"""Ids made shorter: the middle of a text goes, and a picture's tokens never."""

from __future__ import annotations

from sepiola.data.cutting import cut_middle, cut_text

PICTURES = {90, 91, 92}


def test_a_text_loses_its_middle() -> None:
    assert cut_middle(range(10), 4) == (0, 1, 8, 9) and cut_middle(range(10), 5) == (0, 1, 7, 8, 9)
    assert cut_text(range(10), 4, PICTURES) == cut_text(range(10), 4, ()) == ((0, 1, 8, 9), 0)


def test_a_picture_in_the_middle_stays_whole_with_its_line_breaks() -> None:
    tiles = [91, 92, 90, 90, 5, 91, 90, 90, 5, 5, 91, 90, 90]  # 5 is a line break
    tokens = [0, 1, 2, 3, *tiles, 5, 6, 7, 8]
    assert cut_text(tokens, 17, PICTURES) == ((0, 1, *tiles, 7, 8), 13)
    assert cut_text(tokens, 13, PICTURES) == cut_text(tokens, 12, PICTURES) == (tuple(tiles), 13)
    apart = [90, 1, 2, 3, 90]  # three words are no part of a picture
    assert cut_text(apart, 4, PICTURES) == ((90, 1, 3, 90), 2)
