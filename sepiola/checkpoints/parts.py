"""Checkpoints of whole vision-language models: the layouts of their parts side by side, under prefixes.

Each part is read and written by its own family, which its spec names and which knows what a config leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, language_of, part_of
from sepiola.checkpoints.families import clip, detr, eva, llama, opt, resnet, siglip, t5, vit
from sepiola.checkpoints.family import Family
from sepiola.checkpoints.heads import KEY as TIED
from sepiola.checkpoints.lazy import LazyTensors, later, renamed
from sepiola.errors import CheckpointError
from sepiola.specs.base import nearest
from sepiola.specs.model import ModelSpec, TransformerSpec
from sepiola.specs.vision import VisionSpec

LANGUAGES: dict[str, Family] = {
    **dict.fromkeys(("t5", "mt5", "flan-t5"), t5),
    "opt": opt,
    **dict.fromkeys(llama.KINDS, llama),
}
VISION_ENCODERS: dict[str, Family] = {
    "vit": vit,
    "clip": clip,
    "clip_vision_model": clip,
    "siglip": siglip,
    "siglip_vision_model": siglip,
    "blip_2_vision_model": eva,
    "instructblip_vision_model": eva,
    "detr": detr,
    "resnet": resnet,
}


def text_spec(
    config: Config, state: Mapping[str, Tensor], part_name: Callable[[str], tuple[str, str]], *, silent: str
) -> TransformerSpec:
    """The language model of a whole model's config, whose `text_config` is of family `silent` where it does not say.

    `part_name` is the part that a Hub name belongs to, and its name there. The head is tied where either config says
    so. Raises CheckpointError for a family that is not known.
    """
    text = {"model_type": silent, **(part_of(config, "text_config") or {})}
    if text.get("pad_token_id") is None and config.get("pad_token_id") is not None:
        text["pad_token_id"] = config["pad_token_id"]
    if config.get(TIED) is True:
        text[TIED] = True
    named = {name: part_name(name) for name in state}
    family = _known(LANGUAGES, str(text["model_type"]), "text_config.model_type")
    return language_of(family.spec_from_config(text, renamed(state, lambda name: _within(named, "language", name))))


def vision_spec(config: Config, preprocessor: Config | None) -> VisionSpec:
    """The vision encoder of a `vision_config`. Raises CheckpointError for a family that is not known."""
    family = _known(VISION_ENCODERS, str(config.get("model_type")), "vision_config.model_type")
    vision = family.spec_from_config(config, {}, preprocessor=preprocessor).vision
    assert vision is not None
    return vision


def text_config(language: TransformerSpec) -> JSON:
    """The `text_config` of a language model."""
    family, spec = _language(language)
    return family.config_from_spec(spec)


def vision_config(vision: VisionSpec) -> JSON:
    """The `vision_config` of a vision encoder."""
    family, spec = vision_alone(vision)
    return family.config_from_spec(spec)


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec, part_name: Callable[[str], tuple[str, str]]) -> LazyTensors:
    """Our state dict; `part_name` is the part that a Hub name belongs to, and its name there.

    Names of the bridge are ours already. What belongs to no part passes through, so that strict loading reports it.
    """
    assert spec.vision is not None
    named = {name: part_name(name) for name in state}
    parts = {part: renamed(state, partial(_within, named, part)) for part in ("language", "vision", "bridge")}
    if spec.language is not None:
        family, language = _language(spec.language)
        parts["language"] = family.to_ours(parts["language"], language)
    family, vision = vision_alone(spec.vision)
    parts["vision"] = family.to_ours(parts["vision"], vision)
    return LazyTensors({f"{part}.{name}": read for part, held in parts.items() for name, read in later(held).items()})


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, dict[str, Tensor]]:
    """The Hub's state dicts of vision encoder and language model, and ours of the bridge."""
    assert spec.vision is not None
    parts = {
        part: {n.removeprefix(f"{part}."): v for n, v in state.items() if n.startswith(f"{part}.")}
        for part in ("language", "vision", "bridge")
    }
    if spec.language is not None:
        family, language = _language(spec.language)
        parts["language"] = family.to_hub(parts["language"], language)
    family, vision = vision_alone(spec.vision)
    return {**parts, "vision": family.to_hub(parts["vision"], vision)}


def vision_alone(vision: VisionSpec) -> tuple[Family, ModelSpec]:
    """The family of a vision encoder, and the vision encoder as a model of its own.

    Raises CheckpointError when its spec names no family.
    """
    family = _known(VISION_ENCODERS, vision.family, "vision.family")
    return family, ModelSpec(name=vision.family, family=vision.family, vision=vision)


def _language(language: TransformerSpec) -> tuple[Family, ModelSpec]:
    family = _known(LANGUAGES, language.family, "language.family")
    return family, ModelSpec(name=language.family, family=language.family, language=language)


def _within(named: Mapping[str, tuple[str, str]], part: str, name: str) -> str | None:
    return named[name][1] if named[name][0] == part else None


def _known(families: Mapping[str, Family], kind: str, key: str) -> Family:
    if kind not in families:
        raise CheckpointError(f"{key} '{kind}' has no layout as a part of a larger model; {nearest(kind, families)}")
    return families[kind]
