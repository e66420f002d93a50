"""The phone's pictures: each value of each trait is to be told from every other at 64 pixels."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import numpy as np
import pytest

from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.phone.eatables import DISHES, FOODS
from sepiola.tidepool.phone.goods import BELONGINGS, PRODUCTS
from sepiola.tidepool.phone.pictures import PICTURES, WALLS
from sepiola.tidepool.phone.places import PETS, PLACES, ROOMS, SHOPS
from sepiola.tidepool.words import COLOURS

FEATURES = 8
"""Of `detr-tiny`, which learns one thing each."""
NUMBERS = (10, 11, 17, 71, 77, 23, 28, 83, 88, 38, 56, 65, 66, 69, 96, 99)
VALUES: dict[str, dict[str, Any]] = {
    "receipt": {"shop": list(SHOPS), "total": NUMBERS},
    "poster": {"place": list(PLACES), "month": range(1, 13), "day": range(1, 29)},
    "label": {"product": list(PRODUCTS), "price": NUMBERS},
    "recycling": {
        "material": ["paper", "plastic", "glass", "metal", "organic", "battery"],
        "item": ["can", "jar", "box"],
    },
    "tag": {"item": list(BELONGINGS), "colour": COLOURS, "number": [n * 10 + 3 for n in NUMBERS]},
    "room": {"room": list(ROOMS), "wall": WALLS},
    "menu": {"dish": list(DISHES)},
    "pet": {"animal": list(PETS)},
}


def pixels(name: str, scene: dict[str, Any], size: int = 64) -> np.ndarray:
    canvas = Canvas(size, random.Random(0))
    PICTURES[name].draw(canvas, scene)
    return np.asarray(canvas.image()).astype(int)


def different(one: np.ndarray, other: np.ndarray) -> int:
    """How many pixels are plainly different."""
    return int((np.abs(one - other).max(-1) > 40).sum())


@pytest.mark.parametrize("script", ["e", "z"])
@pytest.mark.parametrize("name", VALUES)
def test_each_value_looks_different(name: str, script: str) -> None:
    scene = PICTURES[name].sample(random.Random(1)) | {"script": script, "x": 0, "y": 0}
    for trait, values in VALUES[name].items():
        drawn = [pixels(name, scene | {trait: value}) for value in values]
        for place, one in enumerate(drawn):
            assert all(different(one, other) >= 12 for other in drawn[place + 1 :]), (trait, values[place])


def test_a_fridge_shows_each_food_as_often_as_it_says() -> None:
    def shelf(food: str, count: int) -> np.ndarray:
        return pixels("fridge", {"foods": [{"food": food, "count": count}], "x": 0, "y": 0})

    empty = pixels("fridge", {"foods": [{"food": "egg", "count": 0}], "x": 0, "y": 0})
    for food in FOODS:
        covered = [different(shelf(food, count), empty) for count in range(1, 5)]
        assert covered[0] > 12 and all(abs(c / covered[0] - n) < 0.5 for n, c in enumerate(covered, start=1)), food
    for one in FOODS:
        assert all(different(shelf(one, 1), shelf(other, 1)) > 12 for other in FOODS if other != one), one


@pytest.mark.parametrize("size", [64, 100, 224])
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_fill_their_size_and_keep_their_border(name: str, size: int) -> None:
    for seed in range(40):
        picture = pixels(name, PICTURES[name].sample(random.Random(seed)), size)
        assert picture.shape == (size, size, 3) and picture.std() > 15
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border == border[0]).all(), seed


@pytest.mark.parametrize("name", PICTURES)
def test_captions_and_objects_state_what_is_shown(name: str) -> None:
    picture, seen = PICTURES[name], set()
    for seed in range(60):
        scene = picture.sample(random.Random(seed))
        assert scene == picture.sample(random.Random(seed)) and json.loads(json.dumps(scene)) == scene
        english, chinese = picture.caption(scene, "en"), picture.caption(scene, "zh")
        assert all(value in english for value in picture.words(scene, "en").values())
        assert not re.search("[A-Za-z{]", chinese) and not re.search("[{\u4e00-\u9fff]", english)
        first, *things = objects = picture.objects(scene)
        assert first["picture"] == name and len(objects) <= FEATURES
        assert all({"kind", "nth", item["kind"]} == set(item) for item in objects)
        assert len({(item["kind"], item["nth"]) for item in things}) == len(things)
        seen.add((english, str(objects)))
    assert len({text for text, _ in seen}) == len({objects for _, objects in seen}) > 5


def test_what_is_written_is_listed_digit_by_digit() -> None:
    """A feature for each, so that a number is read off in the order in which it is said."""
    tag = {"item": "glove", "colour": "green", "number": 707, "script": "e", "x": 0, "y": 0}
    assert PICTURES["tag"].objects(tag) == [
        {"kind": "picture", "picture": "tag", "nth": "0"},
        {"kind": "colour", "colour": "green", "nth": "0"},
        {"kind": "belonging", "belonging": "glove", "nth": "0"},
        *({"kind": "digit", "digit": digit, "nth": str(nth)} for nth, digit in enumerate("707")),
    ]
    poster = {"place": "park", "month": 3, "day": 14, "script": "z", "x": 0, "y": 0}
    assert [item["digit"] for item in PICTURES["poster"].objects(poster) if "digit" in item] == ["0", "3", "1", "4"]
    fridge = {"foods": [{"food": "egg", "count": 4}, {"food": "fish", "count": 1}], "x": 0, "y": 0}
    listed = [(o["kind"], o["nth"], o[o["kind"]]) for o in PICTURES["fridge"].objects(fridge)]
    assert listed[1:] == [("count", "0", "4"), ("food", "0", "egg"), ("count", "1", "1"), ("food", "1", "fish")]
