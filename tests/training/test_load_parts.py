"""Parts of an earlier model: copied where both have them, with the own rows of a larger vocabulary, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sepiola.errors import CheckpointError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.training.load_parts import load_parts
from tests.tiny import changed_parts, decoder, vit

BRIDGE = {"kind": "projection", "token": 5}


def made(seed: int, vocabulary: int = 60, **changes: Any) -> tuple[Any, ModelSpec]:
    raw = {"vision": vit(), "language": decoder(vocabulary), "bridge": BRIDGE, **changes}
    spec = ModelSpec.parse({key: value for key, value in raw.items() if value is not None})
    return build(spec, seed=seed), spec


@pytest.mark.parametrize("only", [None, "vision", "language"])
def test_the_parts_that_both_have_or_the_one_named(only: Any) -> None:
    (network, _), (earlier, spec) = made(1), made(2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_parts(network, earlier, spec, "earlier", only)
    after = network.state_dict()
    assert changed_parts(before, after) == ({only} if only else {"vision", "language", "bridge"})
    theirs = earlier.state_dict()
    assert all(torch.equal(after[n], theirs[n]) for n in after if only in (None, n.split(".")[0]))


def test_an_encoder_alone_becomes_the_vision_part() -> None:
    network, _ = made(1)
    earlier, spec = made(2, language=None, bridge=None)
    load_parts(network, earlier, spec, "earlier")
    assert all(torch.equal(network.vision.state_dict()[n], value) for n, value in earlier.state_dict().items())


def test_a_larger_vocabulary_keeps_its_own_rows() -> None:
    (network, _), (earlier, spec) = made(1, vocabulary=64), made(2)
    own = network.language.embedding.weight[60:].clone()
    load_parts(network, earlier, spec, "earlier", "language")
    assert torch.equal(network.language.embedding.weight[:60], earlier.language.embedding.weight)
    assert torch.equal(network.language.embedding.weight[60:], own)


def test_a_part_that_does_not_fit_is_named_with_its_source() -> None:
    (network, _), (earlier, spec) = made(1, vocabulary=50), made(2)
    with pytest.raises(CheckpointError, match="earlier, language"):
        load_parts(network, earlier, spec, "earlier")
