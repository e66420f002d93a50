"""Springs: the longest is drawn longest, and is the answer."""

from __future__ import annotations

from sepiola.tidepool import FAMILIES
from tests.tidepool.families import FamilyContract, answer, drawn


class TestSprings(FamilyContract):
    name = "springs"


SCENE = {
    "floor": 57,
    "springs": [
        {"colour": c, "length": n, "x": x} for c, n, x in (("red", 12, 12), ("blue", 30, 32), ("green", 20, 52))
    ],
}


def test_springs_are_drawn_as_long_as_they_are() -> None:
    picture = drawn("springs", SCENE)
    rows = {s["colour"]: (picture == s["colour"]).any(1).sum() for s in SCENE["springs"]}
    assert rows["red"] < rows["green"] < rows["blue"]


def test_most_and_least_are_the_shortest_and_the_longest() -> None:
    kinds = FAMILIES["springs"].kinds
    assert {kind: answer("springs", SCENE, kind, "zh")[:2] for kind in kinds} == {
        kind: "红色" if kind == "most" else "蓝色" for kind in kinds
    }
