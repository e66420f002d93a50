"""Thermometers: the liquid stands as high as the reading, and the higher one is warmer."""

from __future__ import annotations

import numpy as np

from tests.tidepool.families import FamilyContract, answer, drawn


class TestThermometers(FamilyContract):
    name = "thermometers"


SCENE = {"left": {"reading": 20, "x": 14, "y": 53}, "right": {"reading": 50, "x": 46, "y": 53}}


def test_ten_degrees_are_one_tick_of_liquid() -> None:
    picture = drawn("thermometers", SCENE)
    tops = {place: np.flatnonzero(picture[:, SCENE[place]["x"]] == "red")[0] for place in ("left", "right")}
    assert abs(tops["left"] - tops["right"] - 3 * 8.5) < 2


def test_the_warmer_one_in_both_languages() -> None:
    assert answer("thermometers", SCENE, "warmer") == "the right one"
    assert answer("thermometers", SCENE, "warmer", "zh") == "右边的那支"
    assert {answer("thermometers", SCENE, "reading")} <= {"20 °C", "50 °C"}
