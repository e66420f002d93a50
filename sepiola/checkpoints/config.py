"""What the families' configs have in common: keys that are checked and filled up, the names of activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sepiola.errors import CheckpointError, shown
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
    "swish": "silu",  # other names of the same; what we write is the first
    "gelu_python": "gelu",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
}


_LARGEST = 2**31 - 1
_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list: "a list",
    dict: "keys and values",
}


def filled(config: Config, defaults: Config, place: str = "config.json") -> JSON:
    """The config with a family's `defaults`, which are those of `transformers`, where keys are missing.

    A key whose default is a type may be missing or null, and is None then. Sizes (whole numbers whose default is
    positive or a type) are positive, ids (`…_id`, `…_index`) are any. Raises CheckpointError, with the key, for a value
    of another type than the default's, and for a number that is none or is absurd.
    """
    result: JSON = dict(config)
    for key, default in defaults.items():
        value = config.get(key, default)
        if isinstance(default, type):
            result[key] = None if value is None or value is default else _checked(key, value, default, True, place)
        else:
            size = isinstance(default, int) and default > 0
            result[key] = _checked(key, value, type(default), size, place)
    return result


def _checked(key: str, value: object, kind: type, positive: bool, place: str) -> object:
    kinds = (int, float) if kind is float else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        raise CheckpointError(f"{place}: {key} is {shown(value)}; expected {_NAMES[kind]}")
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= _LARGEST):
        raise CheckpointError(f"{place}: {key} is {shown(value)}, which no model has")
    if kind is int and positive and isinstance(value, int) and value < 1 and not key.endswith(("_id", "_index")):
        raise CheckpointError(f"{place}: {key} is {value}; expected 1 or more")
    return value


def spelled(config: Config, **aliases: str) -> JSON:
    """The config with keys under the family's own names, where it has them under the names that all families share.

    `aliases` are such names and the family's.
    """
    shared = {own: config[alias] for alias, own in aliases.items() if alias in config and own not in config}
    return {**config, **shared}


def part_of(config: Config, key: str, place: str = "config.json") -> JSON | None:
    """The config of a part, `text_config` or another; None where it is left to its defaults."""
    part = config.get(key)
    if part is not None and not isinstance(part, Mapping):
        raise CheckpointError(f"{place}: {key} is {shown(part)}; expected keys and values")
    return None if part is None else dict(part)


def token_id(config: Config, name: str, default: int, place: str = "config.json") -> int:
    """The id `…_token_id` of a config, of a list the first; `default` where it has none. Raises CheckpointError."""
    key = f"{name}_token_id"
    value = config.get(key)
    if isinstance(value, list) and value:
        value = value[0]
    if value is None or value == -1:
        return default
    checked = _checked(key, value, int, False, place)
    assert isinstance(checked, int)
    return checked


def language_of(spec: ModelSpec) -> TransformerSpec:
    """The language model of a spec that has one."""
    assert spec.language is not None
    return spec.language


def activation_from(name: object) -> str:
    """Our name of a Hub activation. Raises CheckpointError with the names that are known."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
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
