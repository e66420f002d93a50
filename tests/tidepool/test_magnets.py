"""Magnets: unlike poles that face each other attract; the smaller gap is the stronger pair."""

from __future__ import annotations

import random

from sepiola.tidepool import FAMILIES
from sepiola.tidepool.magnets import COLOUR_OF_POLE
from tests.tidepool.families import FamilyContract, answer, drawn


class TestMagnets(FamilyContract):
    name = "magnets"


SCENE = {
    "top": {"gap": 4, "poles": "NSNS", "x": 4, "y": 8},
    "bottom": {"gap": 12, "poles": "NSSN", "x": 4, "y": 42},
}


def test_the_poles_that_face_each_other_have_their_colours() -> None:
    picture = drawn("magnets", SCENE)
    for pair, name in (("top", "NSNS"), ("bottom", "NSSN")):
        row = picture[SCENE[pair]["y"] + 6]
        colours = [colour for i, colour in enumerate(row) if colour and (i == 0 or colour != row[i - 1])]
        wanted = [COLOUR_OF_POLE[pole] for pole in name]
        assert colours == wanted


def test_the_closer_pair_is_stronger_and_forces_follow_the_poles() -> None:
    assert answer("magnets", SCENE, "stronger") == "the top pair"
    family = FAMILIES["magnets"]
    assert family.check("closer", ["top"], SCENE) and not family.check("closer", ["bottom"], SCENE)
    told = {"top": "attract", "bottom": "repel"}
    for seed in range(8):
        query = family.ask(SCENE, "force", random.Random(seed))
        assert query.right == told[str(query.subject)]
