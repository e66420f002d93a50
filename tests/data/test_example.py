"""Examples: text and images of the messages in their order, and answers that are among the choices."""

from __future__ import annotations

import pytest

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError
from tests.tiny import colour_picture


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
