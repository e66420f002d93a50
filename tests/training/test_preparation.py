"""The parts that a stage teaches, and the state of those that it freezes."""

from __future__ import annotations

import pytest

from sepiola.errors import TrainingError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.training.preparation import choose_parts, learning_parts, parts_of
from tests.tiny import decoder, qformer, vision_language
from tests.trainers import stage_of


def test_only_the_named_parts_learn_and_the_others_are_in_evaluation_mode() -> None:
    model = build(ModelSpec.parse(vision_language({"kind": "projection", "token": 5})))
    choose_parts(model, stage_of(steps=1, learn=["bridge"]))
    parts = parts_of(model)
    assert {name: part.training for name, part in parts.items()} == {"language": False, "vision": False, "bridge": True}
    for name, part in parts.items():
        assert {p.requires_grad for p in part.parameters()} == {name == "bridge"}
    choose_parts(model, stage_of(steps=1, learn=["language", "vision"]))
    assert {name for name, part in parts.items() if part.training} == {"language", "vision"}


def test_the_projection_of_a_qformer_learns_alone() -> None:
    model = build(ModelSpec.parse(vision_language(qformer(token=5))))
    stage = stage_of(steps=1, learn=["projection"])
    choose_parts(model, stage)
    (projection,) = learning_parts(model, stage).values()
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    assert learning == {id(p) for p in projection.parameters()} and learning


def test_a_stage_that_teaches_nothing_is_refused() -> None:
    model = build(ModelSpec.parse({"language": decoder()}))
    with pytest.raises(TrainingError, match="nothing would learn; learn names bridge, the model has language"):
        choose_parts(model, stage_of(steps=1, learn=["bridge"]))
