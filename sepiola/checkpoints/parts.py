"""Checkpoints of whole models that see: a vision encoder's and a language model's layouts side by side under prefixes.

Each part is read and written by its own family; what a config leaves out has that family's default at the Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from torch import Tensor

from sepiola.checkpoints.families import clip, eva, llama, opt, siglip, t5, vit
from sepiola.checkpoints.lazy import LazyTensors, later, renamed
from sepiola.errors import CheckpointError
from sepiola.specs.base import nearest
from sepiola.specs.model import ModelSpec, TransformerSpec
from sepiola.specs.vision import VisionSpec, ViTSpec

_LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_QWEN2 = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
}
LANGUAGES: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "llama": (llama, _LLAMA),
    "mistral": (llama, {**_LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8, "sliding_window": 4096}),
    "qwen2": (llama, _QWEN2),
    "opt": (opt, {}),
    "t5": (t5, {}),
}
VISION_ENCODERS: dict[str, ModuleType] = {
    "clip_vision_model": clip,
    "vit": vit,
    "siglip_vision_model": siglip,
    "blip_2_vision_model": eva,
    "instructblip_vision_model": eva,
}


def language_spec(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> TransformerSpec:
    """The language model of a `text_config`. Raises CheckpointError for a family that is not known."""
    family, defaults = _known(LANGUAGES, str(config.get("model_type", "llama")), "text_config")
    language: TransformerSpec = family.spec_from_config({**defaults, **config}, state).language
    return language


def vision_spec(config: Mapping[str, Any], preprocessor: Mapping[str, Any] | None) -> VisionSpec:
    """The vision encoder of a `vision_config`. Raises CheckpointError for a family that is not known."""
    family = _known(VISION_ENCODERS, str(config.get("model_type")), "vision_config")
    vision: VisionSpec = family.spec_from_config(config, preprocessor=preprocessor).vision
    return vision


def text_config(language: TransformerSpec) -> dict[str, Any]:
    """The `text_config` of a language model."""
    alone = _alone(language)
    config: dict[str, Any] = LANGUAGES[alone.family][0].config_from_spec(alone)
    return config


def vision_config(vision: VisionSpec, kind: str | None = None) -> dict[str, Any]:
    """The `vision_config` of a vision encoder; `kind` where the layout stores any vision encoder as that one's."""
    kind = kind or _eye_kind(vision)
    config: dict[str, Any] = VISION_ENCODERS[kind].config_from_spec(ModelSpec(name=kind, family=kind, vision=vision))
    return config


def to_ours(
    state: Mapping[str, Tensor],
    spec: ModelSpec,
    part_of: Callable[[str], tuple[str, str] | None],
    eye: str | None = None,
) -> LazyTensors:
    """Our state dict; `part_of` a Hub name is the part it belongs to and its name there, or None to leave it out.

    Names of the bridge are ours already. What belongs to no part passes through, so that strict loading reports it.
    `eye` as in `vision_config`.
    """
    assert spec.vision is not None
    named = {name: part_of(name) for name in state}
    parts = {
        part: renamed(state, lambda name, part=part: _within(named[name], part))  # type: ignore[misc]
        for part in ("language", "vision", "bridge")
    }
    kind = eye or _eye_kind(spec.vision)
    if spec.language is not None:
        alone = _alone(spec.language)
        parts["language"] = LANGUAGES[alone.family][0].to_ours(parts["language"], alone)
    parts["vision"] = VISION_ENCODERS[kind].to_ours(
        parts["vision"], ModelSpec(name=kind, family=kind, vision=spec.vision)
    )
    return LazyTensors({f"{part}.{name}": reads for part, own in parts.items() for name, reads in later(own).items()})


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec, eye: str | None = None) -> dict[str, dict[str, Tensor]]:
    """The Hub's state dicts of vision encoder and language model model, and ours of the bridge; `eye` as in
    `vision_config`.
    """
    assert spec.vision is not None
    own = {
        part: {n.removeprefix(f"{part}."): v for n, v in state.items() if n.startswith(f"{part}.")}
        for part in ("language", "vision", "bridge")
    }
    kind = eye or _eye_kind(spec.vision)
    if spec.language is not None:
        alone = _alone(spec.language)
        own["language"] = LANGUAGES[alone.family][0].to_hub(own["language"], alone)
    return {
        "language": own["language"],
        "vision": VISION_ENCODERS[kind].to_hub(own["vision"], ModelSpec(name=kind, family=kind, vision=spec.vision)),
        "bridge": own["bridge"],
    }


def _within(named: tuple[str, str] | None, part: str) -> str | None:
    return named[1] if named is not None and named[0] == part else None


def _alone(language: TransformerSpec) -> ModelSpec:
    """The language model as a model of its own; its family is told by what it is made of."""
    attention = language.attention
    family = "llama"
    if language.positions.kind == "learned":
        family = "opt"
    elif language.kind == "encoder-decoder":
        family = "t5"
    elif attention.bias and attention.output_bias is False:
        family = "qwen2"
    elif attention.window is not None:
        family = "mistral"
    return ModelSpec(name=family, family=family, language=language)


def _eye_kind(vision: VisionSpec) -> str:
    if not isinstance(vision, ViTSpec):
        return vision.kind
    return "clip_vision_model" if vision.input_norm else "vit" if vision.class_token else "siglip_vision_model"


def _known(families: Mapping[str, Any], kind: str, where: str) -> Any:
    if kind not in families:
        raise CheckpointError(f"config.json: {where}.model_type '{kind}' is not supported; {nearest(kind, families)}")
    return families[kind]
