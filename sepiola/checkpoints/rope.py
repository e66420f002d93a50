"""Rotary positions in the Hub's configs: the base, and what stretches it, in each of the ways in which they are stated.

Older files have `rope_theta` and `rope_scaling` (with `type`, later `rope_type`), newer ones have both in
`rope_parameters`, by the type of layer where layers differ (Gemma 3). Which counts is as in `transformers`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from sepiola.checkpoints.config import JSON, Config
from sepiola.errors import CheckpointError
from sepiola.specs.base import nearest
from sepiola.specs.model import PositionSpec
from sepiola.specs.rope import RopeScaling, YarnScaling

log = logging.getLogger(__name__)

FULL, LOCAL = "full_attention", "sliding_attention"
_ORIGINAL = "original_max_position_embeddings"
_YARN = ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")
KEYS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor", _ORIGINAL, *_YARN),
    "llama3": ("factor", _ORIGINAL, "low_freq_factor", "high_freq_factor"),
    "longrope": ("factor", _ORIGINAL, "short_factor", "long_factor", "attention_factor"),
}
"""What each kind of scaling reads, by the Hub's names."""
# Length and base where a config states none.
_LENGTHS = {"llama": 2048, "olmoe": 4096, **dict.fromkeys(("qwen2", "qwen3", "qwen2_moe", "qwen3_moe"), 32_768)}
_BASES = {"mixtral": 1e6}


def positions_from(config: Config) -> JSON:
    """The spec of a config's positions. Raises CheckpointError for a kind that is not known, or lacks a key."""
    flat = _dict(config, "rope_scaling") or _dict(config, "rope_parameters")
    rope = _dict(flat, FULL) if FULL in flat else flat
    length = _length(config, rope)
    top = {_ORIGINAL: config[_ORIGINAL]} if config.get(_ORIGINAL) else {}
    return {
        "kind": "rotary",
        "length": length,
        "base": _first(rope.get("rope_theta"), config.get("rope_theta"), _BASES.get(config["model_type"], 10_000.0)),
        **_scaling("scaling", {**rope, **top}, config, length),
    }


def positions_by_layer_from(config: Config) -> JSON:
    """The same where layers with a window have positions of their own (Gemma 3)."""
    parameters = _dict(config, "rope_parameters")
    stated = _dict(parameters, FULL) or {"rope_type": "default"}  # beside which transformers does not read `type`
    full, local = {**stated, **_dict(config, "rope_scaling")}, dict(_dict(parameters, LOCAL))
    for rope in (full, local):
        if _kind(rope) == "yarn":
            rope["truncate"] = parameters.get("truncate", True)  # where transformers looks for it
    length = _length(config, full, local)
    return {
        "kind": "rotary",
        "length": length,
        "base": _first(full.get("rope_theta"), config.get("rope_theta"), 1e6),
        "local_base": _first(local.get("rope_theta"), config.get("rope_local_base_freq"), 10_000.0),
        **_scaling("scaling", full, config, length),
        **_scaling("local_scaling", local, config, length),
    }


def positions_to(positions: PositionSpec) -> JSON:
    """The keys with which a config states positions, for old readers and new."""
    scaling = positions.scaling
    return {"rope_theta": positions.base} | ({} if scaling is None else {"rope_scaling": _stated(scaling)})


def positions_by_layer_to(positions: PositionSpec) -> JSON:
    """The same for layers that differ."""
    near = positions.local_base or positions.base
    local = positions.local_scaling if positions.local_base else positions.scaling
    bases = ((FULL, positions.base, positions.scaling), (LOCAL, near, local))
    nested: JSON = {layer: {"rope_theta": base, **_stated(scaling)} for layer, base, scaling in bases}
    if any(isinstance(scaling, YarnScaling) and not scaling.truncate for _, _, scaling in bases):
        nested["truncate"] = False
    return {**positions_to(positions), "rope_local_base_freq": near, "rope_parameters": nested}


def _scaling(key: str, rope: Config, config: Config, length: object) -> JSON:
    """What stretches the positions under `key`, or nothing."""
    kind = _kind(rope)
    share = rope.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    if share not in (None, 1):
        raise CheckpointError(f"config.json: partial_rotary_factor {share} is not supported; expected 1")
    if kind not in KEYS:
        raise CheckpointError(
            f"config.json: rotary positions of type '{kind}' are not supported; {nearest(kind, KEYS)}"
        )
    known = {"rope_type", "type", "rope_theta", "partial_rotary_factor", *KEYS[kind]}
    if ignored := sorted(rope.keys() - known - {FULL, LOCAL}):
        log.warning("config.json: rotary positions of type '%s' do not read %s", kind, ", ".join(ignored))
    if kind == "default":
        return {}
    stated = {name: rope[name] for name in KEYS[kind] if rope.get(name) is not None}
    if _ORIGINAL in KEYS[kind]:
        stated["original_length"] = stated.pop(_ORIGINAL, length)
        if kind != "llama3" and _numbers(length, stated["original_length"]):
            stated.setdefault("factor", length / stated["original_length"])
    if missing := [name for name in KEYS[kind] if name in _REQUIRED and name not in stated]:
        raise CheckpointError(f"config.json: rotary positions of type '{kind}' need {', '.join(missing)}")
    weightless = ("mscale", "mscale_all_dim", "beta_fast", "beta_slow")  # 0 is as if it were not there
    return {key: {"kind": kind, **{n: v for n, v in stated.items() if not (n in weightless and v == 0)}}}


_REQUIRED = {"factor", "low_freq_factor", "high_freq_factor", "short_factor", "long_factor"}


def _stated(scaling: RopeScaling | None) -> JSON:
    """A scaling as the Hub states it."""
    if scaling is None:
        return {"rope_type": "default"}
    values = scaling.model_dump(mode="json", exclude_none=True)
    kind, original = values.pop("kind"), values.pop("original_length", None)
    return {"rope_type": kind, **values} | ({_ORIGINAL: original} if original is not None else {})


def _kind(rope: Config) -> str:
    return str(rope.get("rope_type", rope.get("type", "default")))


def _dict(config: Config, key: str) -> Config:
    value = config.get(key) or {}
    if not isinstance(value, Mapping):
        raise CheckpointError(f"config.json: {key} is {value!r}; expected keys and values, or null")
    return value


def _length(config: Config, *ropes: Config) -> object:
    """The number of positions; where none is stated, and it matters, the family's."""
    stated = config.get("max_position_embeddings")
    if stated is not None or all(_kind(rope) == "default" for rope in ropes):
        return stated
    return _LENGTHS.get(config["model_type"], 131_072)


def _first(*values: object) -> object:
    """The first that is there."""
    return next(value for value in values if value is not None)


def _numbers(*values: object) -> bool:
    return all(isinstance(value, int | float) and value > 0 for value in values)
