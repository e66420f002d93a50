"""Objects: each has the colour, shape and fill that is said."""

from __future__ import annotations

from sepiola.tidepool import FAMILIES
from tests.tidepool.families import FamilyContract, drawn


class TestObjects(FamilyContract):
    name = "objects"


SCENE = {
    "objects": [
        {"shape": "circle", "colour": "red", "fill": "plain", "x": 16, "y": 32},
        {"shape": "star", "colour": "blue", "fill": "dotted", "x": 48, "y": 32},
    ]
}


def test_each_is_drawn_on_its_side() -> None:
    picture = drawn("objects", SCENE)
    assert (picture[:, :32] == "red").sum() > 100 and not (picture[:, 32:] == "red").any()
    assert (picture[:, 32:] == "blue").sum() > 40 and not (picture[:, :32] == "blue").any()


def test_captions_name_all_traits_in_both_languages() -> None:
    family = FAMILIES["objects"]
    english, chinese = (family.caption(SCENE, language) for language in ("en", "zh"))
    assert all(word in english for word in ("red", "circle", "blue", "star", "dotted", "left", "right"))
    assert all(word in chinese for word in ("红色", "圆形", "蓝色", "星形", "圆点"))
