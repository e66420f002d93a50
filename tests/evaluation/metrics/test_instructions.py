"""Scores of replies, by kind."""

from __future__ import annotations

import pytest

from sepiola.evaluation.metrics.instructions import first_line, score


@pytest.mark.parametrize(
    ("kind", "given", "wanted", "value"),
    [
        ("classification", "Play  music.\nand so on", "play music", 1.0),
        ("classification", "体育", "财经", 0.0),
        ("entities", "to: Tom; body: hi", "to: Tom; body: ho", 0.5),
        ("entities", "to：小春；message：我到了", "to: 小春; message: 我到了", 1.0),
        ("comprehension", "the red boat", "a red boat", 2 / 3),
        ("comprehension", "第3城", "第3城", 1.0),
        ("translation", "狗在跑", "狗在跑", 1.0),
        ("generation", "a b c", "a b d", 2 / 3),
        ("generation", "", "a", 0.0),
    ],
)
def test_scores(kind: str, given: str, wanted: str, value: float) -> None:
    assert score(kind, given, wanted) == pytest.approx(value)


def test_only_an_open_reply_has_several_lines() -> None:
    assert first_line("\n one \ntwo") == "one"
    assert score("generation", "a\nb", "a b") == 1.0
