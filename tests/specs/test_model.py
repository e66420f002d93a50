"""Specs: faults are named by their key's path before anything is loaded; overrides; recipes shipped and checked."""

from __future__ import annotations

import pytest
import yaml

from sepiola.errors import SpecError
from sepiola.models.build import presets
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from tests.tiny import decoder

DECODER = {"language": decoder(50, 32, 2, heads=4, hidden=64)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["language.widht=64"], "language.widht: unknown key; did you mean 'width'?"),
        (["language.attention.hed=4"], "language.attention.hed: unknown key; did you mean 'heads'?"),
        (["language.width=thirty"], "language.width: input should be a valid integer"),
        (["language.width=30"], "language: width (30) must be a multiple of attention.heads (4)"),
        (["language.attention.kv_heads=3"], "heads (4) must be a multiple of kv_heads (3)"),
        (["language.positions.kind=learned"], "language.positions: learned positions need 'length'"),
        (["language.positions.kind=rotatory"], "language.positions.kind: input should be 'none', 'learned'"),
        (["language=null"], "a model needs 'language', 'vision' or both"),
        (["bridge.kind=gated-fusion"], "gated fusion needs an encoder-decoder"),
        (["vision.kind=vit", "vision.patch=7"], "vision.pixels: this key is required"),
    ],
)
def test_a_wrong_model_names_the_key(changes: list[str], message: str) -> None:
    with pytest.raises(SpecError) as error:
        ModelSpec.parse(override(DECODER, changes))
    assert message in str(error.value)


@pytest.mark.parametrize("name", list(presets()))
def test_a_preset_survives_yaml(name: str) -> None:
    spec = presets()[name]
    assert ModelSpec.parse(yaml.safe_load(yaml.safe_dump(spec.to_dict()))) == spec
