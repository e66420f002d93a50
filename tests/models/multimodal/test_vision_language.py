"""Models that see: every kind of bridge is assembled, and its parts are known by name."""

from __future__ import annotations

from typing import get_args

import pytest

from sepiola.models.build import BRIDGES, build, count, parameter_counts
from sepiola.models.multimodal.vision_language import VisionLanguageModel, vision_of
from sepiola.specs.bridge import BridgeSpec
from sepiola.specs.model import ModelSpec
from sepiola.training.preparation import parts_of
from tests.tiny import decoder, encoder, encoder_decoder, qformer, vit

BARE = encoder() | {"head": {"kind": "none"}}
MODELS = {
    "projection": (decoder(), {"token": 5}),
    "q-former": (decoder(), qformer() | {"token": 5}),
    "gated-cross": (decoder(), {"token": 5}),
    "gated-fusion": (encoder_decoder(), {}),
    "dual": (BARE, {"width": 8, "image": "mean"}),
}


def test_every_kind_of_bridge_is_assembled() -> None:
    kinds = {get_args(spec.model_fields["kind"].annotation)[0] for spec in get_args(get_args(BridgeSpec)[0])}
    assert kinds == set(BRIDGES) == set(MODELS)


@pytest.mark.parametrize("kind", MODELS)
def test_parts_are_known_by_name(kind: str) -> None:
    language, bridge = MODELS[kind]
    spec = ModelSpec.parse({"language": language, "vision": vit(), "bridge": {**bridge, "kind": kind}})
    network = build(spec)
    assert isinstance(network, VisionLanguageModel)
    parts = parts_of(network)
    assert list(parts) == ["language", "vision", "bridge"] and vision_of(network) is parts["vision"]
    counts = {name: count(part) for name, part in parts.items()}
    assert parameter_counts(spec) == {**counts, "total": sum(counts.values())}


def test_a_model_without_parts_is_all_language() -> None:
    network = build(ModelSpec.parse({"language": decoder()}))
    assert parts_of(network) == {"language": network}


def test_a_vision_encoder_alone_is_its_own() -> None:
    network = build(ModelSpec.parse({"vision": vit()}))
    assert vision_of(network) is network
