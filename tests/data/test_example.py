"""Examples: text and images of the messages in their order, and answers that are among the choices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sepiola.data.example import Example, Message, Question, digest
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from tests.tiny import colour_picture, picture_file, question_example


def test_images_and_text_are_read_in_order() -> None:
    red, blue = colour_picture("red"), colour_picture("blue")
    example = Example(
        "1", (Message("system", ("简短回答。",)), Message("user", (red, "What is ", blue, "这是什么？"))), ""
    )
    assert example.images == (red, blue)
    assert example.prompt == "简短回答。\nWhat is 这是什么？"


@pytest.mark.parametrize(("answer", "count"), [(2, 2), (-1, 2), (0, 0)])
def test_an_answer_beyond_the_choices_is_refused(answer: int, count: int) -> None:
    with pytest.raises(DataError, match=f"answer {answer} is out of range: the question has {count} choices"):
        Question("q", ("a", "b")[:count], answer)


def test_a_digest_tells_all_that_is_said_and_shown() -> None:
    one = question_example("1", "这是什么？", ("red", "blue"), 0, colour_picture("red"), group="a")
    others = [
        question_example("2", "这是什么？", ("red", "blue"), 0, colour_picture("red"), group="a"),
        question_example("1", "What?", ("red", "blue"), 0, colour_picture("red"), group="a"),
        question_example("1", "这是什么？", ("red", "blue"), 1, colour_picture("red"), group="a"),
        question_example("1", "这是什么？", ("red", "blue"), 0, colour_picture("blue"), group="a"),
        question_example("1", "这是什么？", ("red", "blue"), 0, colour_picture("red"), group="b"),
        replace(one, target="\ud800"),
    ]
    assert len({digest([example]) for example in (one, *others)}) == 7
    assert digest([one]) == digest([replace(one)]) != digest([one, one])
    assert digest([one, others[0]]) != digest([others[0], one])


def test_a_digest_knows_a_file_by_name_and_length_wherever_it_lies(tmp_path: Path) -> None:
    here, there = picture_file(tmp_path / "a" / "图.png"), picture_file(tmp_path / "b" / "图.png")

    def of(path: Path) -> str:
        return digest([question_example("1", "?", ("a",), 0, ImageRef(path))])

    assert of(here) == of(there)
    there.write_bytes(there.read_bytes() + b"0")
    assert of(here) != of(there) != of(tmp_path / "图.png")  # the last is not there
