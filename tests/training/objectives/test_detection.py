"""What a vision encoder is taught by: listed objects, or the answers to recurring questions."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.training.objectives.detection import RECURS, Traits, pictures

COLOURS = ("red", "green", "blue")


def asked(picture: int, text: str, choices: tuple[str, ...], answer: int, **metadata: Any) -> Example:
    image = ImageRef.of(Image.new("RGB", (8, 8), (picture, 0, 0)))
    message = Message("user", (image, text))
    return Example(f"{picture} {text}", (message,), choices[answer], Question(text, choices, answer), metadata)


def questions() -> list[Example]:
    colours = [asked(i, "What colour is it?", COLOURS, i % 3) for i in range(RECURS)]
    shapes = [asked(i, "它是什么形状？", ("圆形", "方形"), i % 2) for i in range(RECURS)]
    always_yes = [asked(i, "Is it a picture?", ("yes", "no"), 0) for i in range(RECURS)]
    seldom = [asked(i, "Is it new?", ("yes", "no"), i % 2) for i in range(RECURS - 1)]
    return [*colours, *shapes, *always_yes, *seldom]


def test_answers_to_recurring_questions_are_a_pictures_traits() -> None:
    found = pictures(questions())
    assert len(found) == RECURS, "one example a picture"
    assert set(Traits.of(found).values) == {"kind", "question: What colour is it?", "question: 它是什么形状？"}
    assert found[4].metadata["objects"] == [
        {"kind": "picture", "question: What colour is it?": "green", "question: 它是什么形状？": "圆形"}
    ]


def test_listed_objects_stand() -> None:
    listed = [asked(0, "What colour is it?", COLOURS, 0, objects=[{"kind": "star"}])]
    assert pictures(listed) == listed


def test_nothing_to_tell_is_one_message() -> None:
    with pytest.raises(DataError, match="recur over at least 8 pictures"):
        Traits.of(pictures(questions()[:4]))


def test_every_trait_of_every_query_is_a_label() -> None:
    found = pictures(questions())
    traits = Traits.of(found)
    target = traits.sample(found[0], queries=300).target
    assert len(target) == 900 and target.count(-100) == 2 * 299, "unknown traits of the queries that name nothing"
