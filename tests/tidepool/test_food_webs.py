"""Food webs: an arrow goes from what is eaten to who eats it."""

from __future__ import annotations

import numpy as np
import pytest

from sepiola.tidepool import FAMILIES, check, claims
from sepiola.tidepool.food_webs import CENTRES, NEIGHBOURS
from tests.tidepool.families import FamilyContract, drawn


class TestFoodWebs(FamilyContract):
    name = "food webs"


FISH = [{"colour": c, "x": x, "y": y} for c, (x, y) in zip(("red", "blue", "green"), CENTRES, strict=True)]


def test_each_fish_is_drawn_at_its_place() -> None:
    picture = drawn("food webs", {"arrows": [], "fish": FISH})
    for fish in FISH:
        rows, columns = np.nonzero(picture == fish["colour"])
        assert abs(rows.mean() - fish["y"]) < 4 and abs(columns.mean() - fish["x"]) < 4, fish


@pytest.mark.parametrize("turned", [False, True])
def test_an_arrow_turned_is_the_other_claim(turned: bool) -> None:
    arrows = [list(side[::-1] if turned else side) for side in NEIGHBOURS]
    scene, family = {"arrows": arrows, "fish": FISH}, FAMILIES["food webs"]
    eaten, eater = (FISH[i]["colour"] for i in arrows[0])
    for language in ("en", "zh"):
        found = claims(family.say(language, "arrow", eaten=eaten, eater=eater), language, "food webs")
        other = claims(family.say(language, "arrow", eaten=eater, eater=eaten), language, "food webs")
        assert found and all(check(claim, scene) for claim in found)
        assert other and not all(check(claim, scene) for claim in other)
