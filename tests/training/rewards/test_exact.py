"""The exact reward: right answers by rule, in English and Chinese, and nothing for an empty one."""

from __future__ import annotations

from typing import Any

import pytest

from sepiola.data.example import Example, Message, Question
from sepiola.training.rewards import Written, reward_of, reward_spec
from tests.tiny import question_example


def reward(example: Example, text: str, **spec: Any) -> float:
    (value,) = reward_of(reward_spec({"kind": "exact", **spec})).score([example], [Written(text, text, True)])
    return value


def plain(target: str) -> Example:
    return Example("e", (Message("user", ("?",)),), target)


@pytest.mark.parametrize(
    "text, worth", [("The answer is (B).", 1), ("答案是B。", 1), ("A", 0), ("A or B", 0), ("", 0), ("west", 1)]
)
def test_choices_are_read_as_in_evaluation(text: str, worth: float) -> None:
    assert reward(question_example("q", "Where?", ("east", "west"), 1), text) == worth


@pytest.mark.parametrize("text, worth", [("It is a chair.", 1), ("table", 0), ("", 0)])
def test_open_questions(text: str, worth: float) -> None:
    example = Example("o", (), "chair", Question("What is it?", answer_text="chair"))
    assert reward(example, text) == worth


@pytest.mark.parametrize(
    "read, target, text, worth",
    [
        ("text", "七", " 七 ", 1),
        ("text", "七", "七八", 0),
        ("text", "", "", 0),
        ("number", "2 + 5 = 7 #### 7", "So 4 + 3 = 7. The answer is 7.", 1),
        ("number", "答案是7。", "答案是8。", 0),
        ("number", "#### 7", "I do not know", 0),
        ("final", "So the answer is yes.", "Hence the answer is yes.", 1),
        ("open", "a red cup", "It is a red cup.", 1),
    ],
)
def test_other_examples_are_compared_as_asked(read: str, target: str, text: str, worth: float) -> None:
    assert reward(plain(target), text, read=read) == worth
