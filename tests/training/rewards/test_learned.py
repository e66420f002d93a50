"""The reward that a reward model gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import sepiola
from sepiola.data.example import Example, Message
from sepiola.errors import SepiolaError, SpecError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.text.chat import DEFAULT, ChatTemplate
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.rewards.contract import Written
from sepiola.training.rewards.learned import Learned, LearnedSpec
from tests import tiny
from tests.trainers import stage_of

TEXTS = ["A sunny day.", "今天下雨了，我们在家。", "Please explain how magnets work in a few words."]
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
ASKED = [
    Example("en", (Message("user", ("Why?",)),), ""),
    Example("zh", (Message("user", ("为什么？",)),), ""),
]


def saved(folder: Path, template: ChatTemplate | None, head: dict[str, str] | None) -> str:
    language = tiny.decoder(300, layers=2, positions={"kind": "learned", "length": 64})
    spec = ModelSpec.parse({"family": "gpt2", "language": language} | ({"classifier": head} if head else {}))
    network = build(spec, seed=3)
    if head:
        torch.nn.init.normal_(network.get_parameter("classifier.weight"))
    sepiola.Model(network, spec, Processor.of(spec, Tokenizer.train(TEXTS, 300), template)).save(folder)
    return str(folder)


def learned(model: str) -> LearnedSpec:
    return LearnedSpec.parse({"kind": "learned", "model": model})


def test_a_completion_has_the_score_of_the_conversation_that_it_ends(tmp_path: Path) -> None:
    template = ChatTemplate({DEFAULT: TEMPLATE})
    spec = learned(saved(tmp_path / "judge", template, {"kind": "reward"}))
    written = [Written("It pulls iron.", "It pulls iron.", True), Written("磁铁吸铁。", "磁铁吸铁。", True)]
    scores = Learned(spec).score(ASKED, written)
    model = sepiola.load(spec.model)
    for asked, one, score in zip(ASKED, written, scores, strict=True):
        turns = [{"role": "user", "content": asked.prompt}, {"role": "assistant", "content": one.text}]
        assert score == pytest.approx(model.reward(turns), abs=1e-5)
    assert scores[0] != scores[1]
    pictured = [replace(e, messages=(Message("user", (tiny.colour_picture(), *e.messages[0].content)),)) for e in ASKED]
    assert Learned(spec).score(pictured, written) == scores  # a judge of text alone reads the text


def test_words_of_another_template_are_refused(tmp_path: Path) -> None:
    spec = learned(saved(tmp_path / "judge", ChatTemplate({DEFAULT: TEMPLATE}), {"kind": "reward"}))
    with pytest.raises(
        SpecError, match=r"reads conversations by the chat template .* the policy writes by one message"
    ):
        spec.check_words("one message a line")
    learned(saved(tmp_path / "lines", None, {"kind": "reward"})).check_words("one message a line")


def test_a_model_without_a_score_is_no_reward(tmp_path: Path) -> None:
    spec = learned(saved(tmp_path / "writer", None, None))
    with pytest.raises(SepiolaError, match="reward"):
        Learned(spec).score(ASKED[:1], [Written("It pulls iron.", "It pulls iron.", True)])


@pytest.mark.parametrize(("key", "fix"), [("modell", "did you mean 'model'"), ("stage", "known: .*model")])
def test_an_unknown_key_of_a_reward_is_told_those_of_rewards(key: str, fix: str) -> None:
    objective = {"kind": "grpo", "reward": {"kind": "learned", "model": "judge", key: "x"}}
    with pytest.raises(SpecError, match=rf"objective\.reward\.{key}: unknown key; {fix}"):
        stage_of(name="x", data={"reader": "tidepool"}, steps=1, objective=objective)
