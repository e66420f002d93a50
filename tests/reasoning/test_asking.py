"""A question is made of texts."""

from __future__ import annotations

from typing import Any

import pytest

from sepiola.errors import DataError
from sepiola.reasoning.asking import question_example


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"question": None}, "question is None; expected a text"),
        ({"hint": b"x"}, "hint is b'x'; expected a text"),
        ({"choices": ("a", 5)}, r"choices\[1\] is 5; expected a text"),
        ({"question": "耳\ud83d"}, "question: holds half a character pair"),
    ],
)
def test_what_is_no_text_is_named(given: dict[str, Any], fault: str) -> None:
    asked = {"question": "这是什么？", "choices": ("a", "b"), "hint": "", **given}
    with pytest.raises(DataError, match=fault):
        question_example(asked["question"], [], asked["choices"], asked["hint"])


def test_a_question_is_in_its_language() -> None:
    assert question_example("这是什么？", [], (), "").metadata["language"] == "zh"
    assert question_example("What is this?", [], ("a",), "").metadata["language"] == "en"
