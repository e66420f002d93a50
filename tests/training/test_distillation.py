"""Distillation: targets are drawn by the teacher's probabilities, and their mean loss is the expected cross-entropy."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from sepiola.data.batching import Sample
from sepiola.errors import SpecError, TrainingError
from sepiola.models.build import build
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs
from sepiola.training.objectives.distillation import Distillation
from sepiola.training.objectives.language_modelling import LanguageModelling
from tests.tiny import decoder, question_example
from tests.trainers import ExampleSetting, stage_of

TAUGHT = {"e0": (0.7, 0.2, 0.1), "e1": (0.25, 0.75)}
EXAMPLES = [
    question_example("e0", "Which?", ("red", "green", "blue"), 0),
    question_example("e1", "Where?", ("left", "right"), 0),
]
OBJECTIVE = {"kind": "distillation", "teacher": "nowhere", "format": "Q-A"}


def distillation(made: type[LanguageModelling] = Distillation, **objective: Any) -> LanguageModelling:
    tokenizer = Tokenizer.train([], 259)
    spec = ModelSpec.parse({"name": "d", "language": decoder(tokenizer.vocabulary)})
    stage = stage_of(objective=objective or OBJECTIVE, steps=1, batch=2, data={"reader": "mine"})
    return made(stage, ExampleSetting(spec, tokenizer, EXAMPLES, taught=TAUGHT))


def texts(objective: LanguageModelling, sample: Sample) -> str:
    return objective.setting.tokenizer.decode(list(sample.target)[:-1])


def test_targets_are_drawn_anew_by_the_teachers_probabilities() -> None:
    objective = distillation()
    samples = [part for one in objective.samples(objective.stage.data) for part in one.parts]
    noise, generator = objective.noise(), np.random.default_rng(0)
    assert noise is not None
    for sample, example in zip(samples, EXAMPLES, strict=True):
        assert example.question is not None
        drawn = Counter(texts(objective, noise(sample, generator)) for _ in range(3000))
        shares = [sum(n for text, n in drawn.items() if choice in text) / 3000 for choice in example.question.choices]
        assert shares == pytest.approx(TAUGHT[example.id], abs=0.03) and sum(drawn.values()) == 3000


def test_the_mean_loss_is_the_teachers_expected_cross_entropy() -> None:
    objective = distillation()
    network = build(objective.setting.spec, seed=1)
    batches = objective.batches(objective.stage.data, ImageInputs())
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = [float(objective.loss(network, batch).loss_sum) for _ in range(400) for batch in batches.once()]
        plain = distillation(LanguageModelling, kind="language-modelling", format="Q-A")
        expected = 0.0
        for example in EXAMPLES:
            assert example.question is not None
            for option, share in enumerate(TAUGHT[example.id]):
                choices = example.question.choices
                one = question_example(example.id, example.question.text, choices, option)
                plain.setting.examples = [one]  # type: ignore[attr-defined]
                (batch,) = plain.batches(plain.stage.data, ImageInputs()).once()
                expected += share * float(plain.loss(network, batch).loss_sum)
    assert np.mean(drawn) == pytest.approx(expected, abs=4 * np.std(drawn) / 400**0.5)


def test_validation_data_keep_their_own_answers() -> None:
    objective = distillation()
    whole = objective.samples(DataSpec(reader="mine", split="val"))
    noise = objective.noise()
    assert noise is not None
    samples = [part for one in whole for part in one.parts]
    assert all(noise(sample, np.random.default_rng(0)) is sample for sample in samples)


def test_what_holds_no_options_is_refused() -> None:
    for wrong in ({"format": None}, {"layout": "chat"}, {"shots": 2}):
        with pytest.raises(SpecError, match="distillation teaches the options of questions"):
            stage = stage_of(objective={**OBJECTIVE, **wrong}, steps=1)
            model = ModelSpec.parse({"name": "d", "language": decoder(259)})
            try:
                stage.check(model)
            except ValueError as error:
                raise SpecError(str(error)) from None
    objective = distillation()
    objective.setting.examples = [question_example("e", "Say", ("only",), 0)]  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="has options"):
        objective.samples(objective.stage.data)
