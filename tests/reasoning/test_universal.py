"""Universal self-consistency: what the model reads of its chains, and that the one it names wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sepiola.data.example import Example, Message, Question
from sepiola.reasoning.answer import Chain
from sepiola.reasoning.chains import SelfConsistency
from sepiola.reasoning.universal import Chooser
from sepiola.specs.strategy import SelfConsistencySpec
from tests.reasoning.test_chains import MODELS, OPTIONS, questions

SPEC: dict[str, Any] = {"kind": "self-consistency", "chains": 4, "vote": "universal"}


def asked(name: str, text: str, language: str = "en") -> Example:
    """An open question."""
    return Example(name, (Message("user", (text,)),), "", Question(text), {"language": language})


class Says:
    """Always writes the same, and keeps what it was asked."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.cut: set[str] = set()
        self.asked: list[str] = []

    def write(self, examples: Sequence[Example], /) -> list[list[str]]:
        self.asked += [example.messages[0].text for example in examples]
        return [[self.text] for _ in examples]


class Drawn:
    """Chains that were drawn before."""

    def __init__(self, *said: str | None) -> None:
        self.row = [Chain(f"It is {one}.", None, -1.0 - n, 2, None, one) for n, one in enumerate(said)]

    def prompts(self, example: Example) -> tuple[Example, ...]:
        return (example,)

    def sample(self, examples: Sequence[Example], *_: Any, **__: Any) -> list[list[Chain]]:
        return [self.row for _ in examples]


def answered(says: str, *said: str | None, language: str = "en") -> tuple[Any, Says]:
    writer, example = Says(says), asked("q", "Which way?", language)
    strategy = SelfConsistency(Drawn(*said), SelfConsistencySpec(**SPEC), chooser=Chooser(writer))
    return strategy.answer([example])[0], writer


def test_the_chain_that_the_model_names_wins() -> None:
    answer, writer = answered("The most consistent response is Response 3.", "up", "down", None, "uphill")
    assert writer.asked[0].startswith(
        "Which way?\nResponse 1: It is up.\nResponse 2: It is down.\nResponse 3: It is up"
    )
    assert answer.output == "It is uphill.", "a chain without an answer is not among those to choose from"
    assert answer.confidence == pytest.approx(1 / 4)


@pytest.mark.parametrize("says", ["I cannot say.", "Response 9", "response 0", "Response 99999999999999999999"])
def test_where_it_names_none_the_plain_vote_decides(says: str) -> None:
    answer, _ = answered(says, "up", "down", "down", None)
    assert answer.output == "It is down." and answer.confidence == pytest.approx(2 / 4)


def test_it_asks_in_the_questions_language_and_only_where_chains_differ() -> None:
    answer, writer = answered("最一致的回答是回答2。", "上", "下", "上", "上", language="zh")
    assert "回答4：" in writer.asked[0] and answer.output == "It is 下."
    _, writer = answered("Response 1", "up", "up", None, "up")
    assert writer.asked == []


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder, one stage", "fused vision, two stages"])
def test_any_model_that_writes_can_choose(kind: str) -> None:
    model = MODELS[kind]().by({**SPEC, "temperature": 1.0, "by": "generate"})
    plain = model.by({**SPEC, "vote": "plain", "temperature": 1.0, "by": "generate"})
    examples = questions(3, pictures="vision" in kind)
    for one, other in zip(model.answer(examples), plain.answer(examples), strict=True):
        assert one.chains == other.chains, "how they vote changes no chain"
    assert len(model.ask("What colour is it?", choices=OPTIONS).chains) == 4
