"""A lone question to an ensemble is answered side by side, and as the members answer it one after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sepiola.api import Model
from sepiola.models.build import build
from sepiola.reasoning import side_by_side as module
from sepiola.reasoning.side_by_side import side_by_side
from sepiola.specs.ensemble import CombiningSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import Raw, decoder, encoder_decoder, question_example, randomise

BY_SCORE = AnsweringSpec.parse({"strategy": {"kind": "direct", "by": "score"}, "source_tokens": 60})
CHOICES = ("a long one", "b", "cc")


def model(seed: int, language: Raw | None = None, asking: AnsweringSpec = BY_SCORE) -> Model:
    tokenizer = Tokenizer.train([], 259)
    raw = {**(language or encoder_decoder(layers=2)), "vocabulary": tokenizer.vocabulary}
    spec = ModelSpec.parse({"name": "m", "language": raw})
    network = randomise(build(spec, seed=seed), 0.0, 0.4, torch.Generator().manual_seed(seed))
    return Model(network, spec, tokenizer, asking)


def together(*members: Model) -> Model:
    return Model.joined(members, CombiningSpec.parse({"members": len(members), "by": {"kind": "mean"}}))


@pytest.mark.parametrize("language", [encoder_decoder(layers=2), decoder(layers=2)])
def test_a_lone_question_is_answered_as_among_others(language: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [model(seed, language) for seed in range(3)]
    examples = [question_example(f"e{n}", f"Which one is {n}?", CHOICES) for n in range(4)]
    joint = together(*members)
    in_turn = joint.answer(examples)
    for member in members:  # from here on nobody is asked alone
        monkeypatch.setattr(member.engine, "score", None)
    for example, answer in zip(examples, in_turn, strict=True):
        (alone,) = joint.answer([example])
        assert (alone.id, alone.choice) == (answer.id, answer.choice)
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-5)
    reply = joint.ask("Which one is 2?", choices=CHOICES)
    assert reply.probabilities is not None and reply.confidence == max(reply.probabilities)


def test_members_that_differ_in_more_than_weights_are_asked_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    first = model(0)
    other: list[Any] = [
        model(1, encoder_decoder(layers=1)),
        model(1, asking=BY_SCORE.model_copy(update={"answer_format": "Q-A"})),
        model(1, encoder_decoder(layers=2, head={"bias": True})),
    ]
    for second in other[:2]:
        assert side_by_side([first, second]) is None
        assert together(first, second).ask("Which?", choices=CHOICES).answer in CHOICES
    assert side_by_side([other[2], other[2]]) is None, "a head with a bias does not stack"
    assert side_by_side([first, model(1)]) is not None
    monkeypatch.setattr(module, "MOST", 10)
    assert side_by_side([first, model(1)]) is None


def test_another_runtime_counts_from_then_on() -> None:
    joint = together(model(0), model(1))
    before = joint.ask("Which?", choices=CHOICES).probabilities
    assert joint.run("prepacked") is joint
    assert joint.ask("Which?", choices=CHOICES).probabilities == pytest.approx(before, abs=0.05)
