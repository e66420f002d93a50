"""Distillation: the loss and its gradient are those of the formula, whoever the teacher and whatever the model is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sepiola.data.example import Example
from sepiola.errors import SpecError, TrainingError
from sepiola.models.build import build
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs
from sepiola.training.objectives.distillation import Distillation, target
from sepiola.training.objectives.language_modelling import LanguageModelling
from tests.tiny import Raw, decoder, encoder_decoder, question_example
from tests.trainers import ExampleSetting, stage_of

TAUGHT = {"e0": (0.7, 0.2, 0.1), "e1": (0.25, 0.75), "e2#unanswered": (0.4, 0.6)}
EXAMPLES = [
    question_example("e0", "Which?", ("red", "green", "blue"), 0),
    question_example("e1", "Where?", ("left", "right 左"), 0),
]
MORE = [question_example("e2", "何?", ("一", "two"), 1)]
OBJECTIVE: Raw = {"kind": "distillation", "teacher": "nowhere", "format": "Q-A"}
QUESTIONS = {"reader": "more"}
MIXED = {"e0": (0.94, 0.04, 0.02), "e1": (0.85, 0.15), "e2": (0.4, 0.6)}
TOKENIZER = Tokenizer.train([], 259)
LANGUAGES = {"decoder": decoder(259), "encoder-decoder": encoder_decoder(259)}


class Setting(ExampleSetting):
    """Other examples for other data."""

    def read(self, data: DataSpec) -> list[Example]:
        return list(MORE) if data.reader == "more" else super().read(data)


def distillation(
    made: type[LanguageModelling] = Distillation, language: str = "decoder", packed: bool = False, **objective: Any
) -> LanguageModelling:
    spec = ModelSpec.parse({"name": "d", "language": LANGUAGES[language]})
    own = {**OBJECTIVE, **objective} if made is Distillation else objective
    stage = stage_of(objective=own, steps=1, batch=3, data={"reader": "mine"}, packed=packed)
    stage.check(spec)
    return made(stage, Setting(spec, TOKENIZER, EXAMPLES, taught=TAUGHT))


def loss_and_gradient(objective: LanguageModelling, network: nn.Module) -> tuple[float, list[Tensor]]:
    network.zero_grad()
    (batch,) = objective.batches(objective.stage.data, ImageInputs()).once()
    loss = objective.loss(network, batch)
    loss.total.backward()
    return float(loss.loss_sum.detach()), [p.grad.clone() for p in network.parameters() if p.grad is not None]


def by_formula(network: nn.Module, targets: dict[str, tuple[float, ...]], language: str) -> tuple[float, list[Tensor]]:
    """-Σ target(option) log P(text of the option), option by option, each by plain language modelling."""
    total: Tensor | float = 0.0
    network.zero_grad()
    plain = distillation(LanguageModelling, language, kind="language-modelling", format="Q-A")
    for example in [*EXAMPLES, *MORE]:
        for option, share in enumerate(targets.get(example.id, ())):
            assert example.question is not None
            one = replace(example, question=replace(example.question, answer=option))
            plain.setting.examples = [one]  # type: ignore[attr-defined]
            (batch,) = plain.batches(plain.stage.data, ImageInputs()).once()
            total = total + share * plain.loss(network, batch).loss_sum
    assert isinstance(total, Tensor)
    total.backward()
    return float(total.detach()), [p.grad.clone() for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("objective", "targets"),
    [
        ({"weight": 1.0}, {"e0": (0.7, 0.2, 0.1), "e1": (0.25, 0.75)}),
        ({}, {"e0": (0.85, 0.1, 0.05), "e1": (0.625, 0.375)}),
        ({"weight": 0.2, "questions": QUESTIONS}, {"e0": (0.94, 0.04, 0.02), "e1": (0.85, 0.15), "e2": (0.4, 0.6)}),
        (
            {"weight": 0.2, "questions": QUESTIONS, "packed": True},
            {"e0": (0.94, 0.04, 0.02), "e1": (0.85, 0.15), "e2": (0.4, 0.6)},
        ),
    ],
)
def test_value_and_gradient_are_those_of_the_formula(
    objective: Raw, targets: dict[str, tuple[float, ...]], language: str
) -> None:
    made = distillation(language=language, **objective)
    network = build(made.setting.spec, seed=1)
    value, gradient = loss_and_gradient(made, network)
    expected, wanted = by_formula(network, targets, language)
    assert value == pytest.approx(expected, rel=1e-5)
    for got, want in zip(gradient, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_the_target_is_the_teachers_and_the_known_answers() -> None:
    mixed = target((0.5, 0.3, 0.2), 2, 0.5)
    assert mixed == pytest.approx((0.25, 0.15, 0.6))
    assert target((2.0, 6.0), None, 0.5) == pytest.approx((0.25, 0.75))  # normalised; nobody knows the answer
    assert target((0.9, 0.1), 1, 1.0) == pytest.approx((0.9, 0.1))


def test_an_option_without_a_share_costs_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made = distillation(weight=1.0)
    monkeypatch.setattr(made.setting, "taught", {"e0": (0.9996, 0.0002, 0.0002), "e1": (0.5, 0.5)})
    (batch,) = made.batches(made.stage.data, ImageInputs()).once()
    assert len(batch.ids) == 3
    network = build(made.setting.spec, seed=1)
    expected, _ = by_formula(network, {"e0": (1.0,), "e1": (0.5, 0.5)}, "decoder")
    assert float(made.loss(network, batch).loss_sum) == pytest.approx(expected, rel=1e-5)


def test_what_is_expected_is_what_is_counted() -> None:
    """Losses are per label, as of language modelling: of `red`, `green` and `blue` by their shares, with their ends."""
    made = distillation(weight=1.0)
    monkey = made.setting
    assert isinstance(monkey, Setting)
    monkey.examples = EXAMPLES[:1]
    (batch,) = made.batches(made.stage.data, ImageInputs()).once()
    assert batch.labelled == round(0.7 * 4 + 0.2 * 6 + 0.1 * 5)


def test_validation_data_keep_their_own_answers() -> None:
    made = distillation()
    held_out = DataSpec(reader="mine", split="val")
    plain = distillation(LanguageModelling, kind="language-modelling", format="Q-A")
    network = build(made.setting.spec, seed=1)
    losses = [
        float(each.loss(network, batch).loss_sum)
        for each in (made, plain)
        for batch in each.batches(held_out, ImageInputs()).once()
    ]
    assert losses[0] == losses[1]


def test_answers_to_the_questions_beside_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = distillation(questions=QUESTIONS), distillation(questions=QUESTIONS)
    network = build(one.setting.spec, seed=1)
    before = loss_and_gradient(one, network)[0]
    monkeypatch.setattr("tests.training.test_distillation.MORE", [question_example("e2", "何?", ("一", "two"), 0)])
    assert loss_and_gradient(two, network)[0] == before


@pytest.mark.parametrize("wrong", [{"format": None}, {"format": "QCM-LE"}, {"layout": "chat"}, {"shots": 2}])
def test_what_holds_no_options_is_refused(wrong: Raw) -> None:
    with pytest.raises((SpecError, ValueError), match="distillation teaches the options of questions"):
        distillation(**wrong)


@pytest.mark.parametrize("layout", ["QCM-LEA", "QCM-AE", "QCMG-A", "QCME-A"])
def test_unanswered_questions_without_explanations_need_a_format_without(layout: str) -> None:
    distillation(format=layout)
    with pytest.raises(ValueError, match="nobody has explained the 'questions'"):
        distillation(format=layout, questions=QUESTIONS)


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_a_weight_is_a_share(weight: float) -> None:
    with pytest.raises(SpecError, match=r"objective\.weight"):
        distillation(weight=weight)


def test_data_without_options_are_refused() -> None:
    made = distillation()
    made.setting.examples = [question_example("e", "Say", ("only",), 0)]  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="has options"):
        made.batches(made.stage.data, ImageInputs())
