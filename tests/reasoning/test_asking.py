"""A question is made of texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from sepiola.errors import DataError, SepiolaError
from sepiola.reasoning.asking import question_example
from sepiola.specs.strategy import DirectSpec
from tests.tiny import byte_model, decoder


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"question": None}, "question is None; expected a text"),
        ({"hint": b"x"}, "hint is b'x'; expected a text"),
        ({"choices": ("a", 5)}, r"choices\[1\] is 5; expected a text"),
        ({"choices": ("a", " ")}, r"choices\[1\] is ' '; expected texts, each of them once"),
        ({"choices": ("红", "蓝", "红")}, r"choices\[2\] is '红'; expected texts, each of them once"),
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


def test_a_picture_is_refused_by_a_model_that_reads_text_alone() -> None:
    model = byte_model(decoder())
    with pytest.raises(DataError, match="this model reads text alone; leave them out"):
        model.ask("这是什么？", image=Image.new("RGB", (8, 8)), choices=("猫", "狗"))
    assert model.ask("这是什么？", choices=("猫", "狗")).answer in ("猫", "狗")
    assert model.ask("这是什么？", choices=np.array(["猫", "狗"])).answer in ("猫", "狗")  # type: ignore[arg-type]


def test_another_strategy_chooses_among_the_choices_too() -> None:
    model, question, choices = byte_model(decoder()), "这是什么？", ("猫", "a dog")
    own = model.ask(question, choices=choices)
    assert model.ask(question, choices=choices, strategy="direct") == own and own.probabilities is not None
    assert model.ask(question, choices=choices, strategy=DirectSpec()) == own
    steps = model.ask(question, choices=choices, strategy={"kind": "least-to-most", "steps": 1})
    assert steps.answer in choices and steps.probabilities is not None
    assert model.ask(question, choices=choices, strategy={"kind": "direct", "by": "generate"}).probabilities is None
    scoring = model.by({"kind": "direct", "by": "score"})
    assert scoring.ask(question, strategy="direct").answer == model.ask(question).answer  # nothing to choose among


def test_one_stage_is_for_formats_that_give_a_rationale() -> None:
    for model in (byte_model(decoder()), byte_model(decoder()).by({"kind": "direct"})):
        with pytest.raises(SepiolaError, match=r"strategy one-stage: .* by the format QCM-A, which gives no rationale"):
            model.ask("Which?", choices=("a", "b"), strategy={"kind": "one-stage"})
