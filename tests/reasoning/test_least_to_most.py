"""Least-to-most: which smaller questions are read, what each prompt knows, and any model that writes follows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sepiola.data.example import Example, Message, Question
from sepiola.errors import SepiolaError
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.least_to_most import WORDS, LeastToMost, smaller_questions
from tests.reasoning.test_chains import MODELS, OPTIONS, questions


def asked(name: str, text: str, language: str = "en") -> Example:
    """An open question."""
    return Example(name, (Message("user", (text,)),), "", Question(text), {"language": language})


class Script:
    """Writes what is scripted for the last line of a prompt, and keeps the prompts."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies = replies
        self.cut: set[str] = set()
        self.asked: list[str] = []

    def write(self, examples: Sequence[Example], /) -> list[list[str]]:
        texts = [example.messages[0].text for example in examples]
        self.asked += texts
        return [[next(reply for end, reply in self.replies.items() if text.endswith(end))] for text in texts]


class Last:
    """Answers the question itself, and keeps it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, examples: Sequence[Example], on_done: Callable[[int], None] | None = None) -> list[Answer]:
        self.asked += [example.question.text for example in examples if example.question]
        return [Answer(example.id, "The answer is 26.", rationale="So it is.") for example in examples]


def test_questions_are_answered_in_turn_with_the_earlier_answers_before_them() -> None:
    english, chinese = asked("e", "How many in all?"), asked("c", "一共多少？", "zh")
    script = Script({
        WORDS["en"][0]: "Sure:\n1. How many has Ann?\n2) How many has Ben?\n2) How many has Ben?\n3. How many in all?",
        WORDS["zh"][0]: "1、小明有多少？",
        "Q: How many has Ann?\nA:": "16\nand so on",
        "Q: How many has Ben?\nA:": " 10",
        "问：小明有多少？\n答：": "8",
    })  # fmt: skip
    last = Last()
    found = LeastToMost(last, script, 4).answer([english, chinese])
    first = "Q: How many has Ann?\nA: 16"
    assert script.asked[-1] == f"How many in all?\n{first}\nQ: How many has Ben?\nA:", "with what was found before"
    assert last.asked == [
        f"{first}\nQ: How many has Ben?\nA: 10\nHow many in all?",
        "问：小明有多少？\n答： 8\n一共多少？",
    ]
    assert found[0].rationale == f"{first}\nQ: How many has Ben?\nA: 10\nSo it is."
    assert [answer.id for answer in found] == ["e", "c"]


def test_what_is_no_question_is_none() -> None:
    example = asked("q", "Why?")
    said = "To solve it:\n- How far?\n• How long?\n(3) What then?\nWhy?\nIt is easy."
    assert smaller_questions(said, example, 9) == ["How far?", "How long?", "What then?"]
    assert smaller_questions(said, example, 2) == ["How far?", "How long?"]
    assert smaller_questions("I do not know.", example, 4) == []


def test_a_question_without_smaller_ones_is_answered_as_it_stands() -> None:
    script, last = Script({WORDS["en"][0]: "No idea."}), Last()
    (answer,) = LeastToMost(last, script, 4).answer([asked("q", "Why?")])
    assert last.asked == ["Why?"] and len(script.asked) == 1 and answer.rationale == "So it is."


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder, one stage", "prefix vision"])
def test_any_model_that_writes_can_be_asked_so(kind: str) -> None:
    model = MODELS[kind]()
    strategy: dict[str, Any] = {"kind": "least-to-most", "steps": 2}
    answers = model.by(strategy).answer(questions(3, pictures="vision" in kind))
    assert [answer.id for answer in answers] == ["q0", "q1", "q2"]
    assert model.ask("What colour is it?", choices=OPTIONS, strategy=strategy).choices == OPTIONS
    with pytest.raises(SepiolaError, match="it is for questions, and none is asked"):
        model.by(strategy).answer([Example("c", (), "")])
