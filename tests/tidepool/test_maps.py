"""Maps: north is where the arrow points, wherever that is on the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.tidepool.families import FamilyContract, answer, drawn


class TestMaps(FamilyContract):
    name = "maps"


TOWNS = [{"colour": c, "x": x, "y": y} for c, x, y in (("red", 12, 30), ("blue", 32, 12), ("green", 50, 50))]


def scene(arrow: str) -> dict[str, Any]:
    return {"arrow": arrow, "compass": [52, 12], "towns": TOWNS}


def test_towns_stand_where_the_scene_says() -> None:
    picture = drawn("maps", scene("up"))
    for town in TOWNS:
        rows, columns = np.nonzero(picture == town["colour"])
        assert abs(rows.mean() - town["y"]) < 2 and abs(columns.mean() - town["x"]) < 1.5, town


@pytest.mark.parametrize(
    ("arrow", "north", "south"),
    [("up", "blue", "green"), ("down", "green", "blue"), ("left", "red", "green"), ("right", "green", "red")],
)
def test_north_is_where_the_arrow_points(arrow: str, north: str, south: str) -> None:
    assert answer("maps", scene(arrow), "north") == f"the {north} town"
    assert answer("maps", scene(arrow), "south") == f"the {south} town"
