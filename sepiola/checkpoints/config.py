"""What the families' configs have in common: their type, the language model they describe, the names of activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec, TransformerSpec

Config = Mapping[str, Any]
"""A JSON file of the Hub as it is read. Its values may be anything, and the specs that are made of them are checked."""

JSON = dict[str, Any]
"""A JSON file of the Hub, or a part of one, as it is written."""

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "quick_gelu": "quick_gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
}


def language_of(spec: ModelSpec) -> TransformerSpec:
    """The language model of a spec that has one."""
    assert spec.language is not None
    return spec.language


def activation_from(name: str) -> str:
    """Our name of a Hub activation. Raises CheckpointError with the names that are known."""
    if name not in ACTIVATIONS:
        raise CheckpointError(f"config.json: the activation '{name}' is not known; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def where_other(encoder: int, decoder: int) -> int | None:
    """The encoder's number where it differs from the decoder's, as specs state it."""
    return None if encoder == decoder else encoder


def activation_to(name: str) -> str:
    """The Hub's name of one of our activations. Raises CheckpointError for one that has none there."""
    for hub, ours in ACTIVATIONS.items():
        if ours == name:
            return hub
    raise CheckpointError(f"the activation '{name}' has no name at the Hub: save it with save(), in our own layout")
