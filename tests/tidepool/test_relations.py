"""Relations: who is left of, right of, above and below the star."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tidepool.families import FamilyContract, answer, drawn


class TestRelations(FamilyContract):
    name = "relations"


PLACES = {"left": (12, 32), "right": (52, 32), "up": (32, 12), "down": (32, 52)}
COLOURS = {"left": "red", "right": "blue", "up": "green", "down": "yellow"}
SCENE = {
    "star": [32, 32],
    "objects": {s: {"shape": "circle", "colour": COLOURS[s], "x": x, "y": y} for s, (x, y) in PLACES.items()},
}


def test_each_stands_on_its_side_of_the_star() -> None:
    picture = drawn("relations", SCENE)
    for side, (x, y) in PLACES.items():
        rows, columns = np.nonzero(picture == COLOURS[side])
        assert abs(rows.mean() - y) < 1.5 and abs(columns.mean() - x) < 1.5, side


@pytest.mark.parametrize("side", PLACES)
def test_the_answer_is_the_colour_on_that_side(side: str) -> None:
    assert COLOURS[side] in answer("relations", SCENE, side)
