"""Reward models on an encoder: they read the mean of its states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import sepiola
from sepiola.data.example import Message
from sepiola.models.classifier import CLASSIFIER
from sepiola.models.reward import mean_scores
from sepiola.specs.model import ModelSpec
from tests import preferences, tiny
from tests.trainers import stage_of


def test_an_encoder_is_read_by_the_mean_of_its_states(preference_reader: str, tmp_path: Path) -> None:
    """Of all real tokens, whatever stands beside them in a batch."""
    torch.manual_seed(0)
    layer = nn.ModuleDict({"classifier": nn.Linear(4, 1, bias=False)})
    states, real = torch.randn(2, 3, 4), torch.tensor([[True, True, True], [False, True, True]])
    found = mean_scores(layer, states, real)
    weight = layer.get_parameter(CLASSIFIER)[0]
    torch.testing.assert_close(found, torch.stack([states[0].mean(0) @ weight, states[1, 1:].mean(0) @ weight]))
    model = sepiola.load(tiny.run_recipe(preferences.recipe("encoder", {"kind": "reward"}, steps=3), tmp_path))
    assert model.spec.classifier is not None and model.spec.classifier.pooling == "mean"
    talks = [[Message("user", ("one?",)), Message("assistant", (text,))] for text in ("1", "2 one two three", "3 one")]
    assert model.score(talks) == pytest.approx([model.reward(talk) for talk in talks], abs=1e-5)
    ids = model.processor.require_tokenizer("it").encode("one?") + model.processor.require_tokenizer("it").encode("1")
    end = model.spec.language.tokens.end if model.spec.language else 1
    with torch.no_grad():
        read = model.network.states(torch.tensor([[*ids, end]]))[0].mean(0)
    assert float(read @ model.network.get_parameter(CLASSIFIER)[0].detach()) == pytest.approx(
        model.reward(talks[0]), abs=1e-5
    )


def test_an_encoder_writes_nothing_that_could_be_preferred() -> None:
    spec = ModelSpec.parse({"language": tiny.encoder()})
    with pytest.raises(ValueError, match="an encoder sees both ways"):
        stage_of(steps=1, objective={"kind": "dpo"}).check(spec)
