"""Counting: as many shapes are drawn as are counted."""

from __future__ import annotations

from tests.tidepool.families import FamilyContract, answer, drawn


class TestCounting(FamilyContract):
    name = "counting"


SCENE = {
    "groups": [
        {"shape": "circle", "colour": "red", "cells": [0, 2, 5]},
        {"shape": "square", "colour": "blue", "cells": [1, 3, 4, 7, 8]},
    ]
}


def test_more_shapes_cover_more() -> None:
    picture, one = drawn("counting", SCENE), drawn("counting", {"groups": [{**SCENE["groups"][0], "cells": [0]}]})
    assert abs((picture == "red").sum() - 3 * (one == "red").sum()) < 12
    assert (picture == "blue").sum() > 0


def test_the_larger_group_is_the_answer() -> None:
    assert "square" in answer("counting", SCENE, "more") and "正方形" in answer("counting", SCENE, "more", "zh")
    other = {"groups": [{**SCENE["groups"][0], "cells": [0, 1, 2, 3, 4, 5]}, SCENE["groups"][1]]}
    assert "circle" in answer("counting", other, "more")
