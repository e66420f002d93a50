"""Charts: the height of a bar is its value, drawn and said."""

from __future__ import annotations

from tests.tidepool.families import FamilyContract, answer, drawn


class TestCharts(FamilyContract):
    name = "charts"


SCENE = {
    "bars": [{"colour": c, "value": v} for c, v in (("red", 2), ("blue", 5), ("green", 1), ("yellow", 3))],
    "x": 4, "y": 58, "pitch": 13,
}  # fmt: skip


def test_a_bar_is_ten_units_a_value_high() -> None:
    picture = drawn("charts", SCENE)
    for bar in SCENE["bars"]:
        rows = (picture == bar["colour"]).any(1).sum()
        assert abs(rows - 10 * bar["value"]) <= 3, bar


def test_the_extremes_are_answered_in_both_languages() -> None:
    assert [answer("charts", SCENE, kind) for kind in ("tallest", "shortest")] == ["the blue bar", "the green bar"]
    assert [answer("charts", SCENE, kind, "zh") for kind in ("tallest", "shortest")] == ["蓝色柱子", "绿色柱子"]
