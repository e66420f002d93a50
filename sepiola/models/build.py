"""From a spec or a preset's name to a module; parameter counts without memory (torch's meta device)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from sepiola.errors import SpecError, brief, shown
from sepiola.models.bridges import projection
from sepiola.models.classifier import LAYER, Classifier, score_layer
from sepiola.models.conditional_logit import ConditionalLogit
from sepiola.models.hashed_linear import HashedLinear
from sepiola.models.initialisation import initialise
from sepiola.models.linear_reward import LinearReward
from sepiola.models.multimodal import cross, dual, fused, qformer_model
from sepiola.models.multimodal.vision_language import LanguageNetwork, VisionLanguageModel
from sepiola.models.transformer import EncoderDecoder, LanguageModel
from sepiola.models.vision.detr import DETR
from sepiola.models.vision.resnet import ResNet
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.models.vision.vit import ViT
from sepiola.specs.base import Plain, nearest, parse_yaml
from sepiola.specs.model import ModelSpec, TransformerSpec
from sepiola.specs.vision import VisionSpec

VISION_ENCODERS: dict[str, Callable[..., VisionEncoder]] = {"vit": ViT, "resnet": ResNet, "detr": DETR}

BRIDGES: dict[str, Callable[[ModelSpec, LanguageNetwork | None, VisionEncoder | None], VisionLanguageModel]] = {
    "projection": projection.assemble,
    "q-former": qformer_model.assemble,
    "gated-cross": cross.assemble,
    "gated-fusion": fused.assemble,
    "dual": dual.assemble,
}
"""How the whole model of a spec is assembled around its bridge."""


def build(spec: ModelSpec, *, seed: int = 0) -> nn.Module:
    """The module of a spec initialised from `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return assemble(spec)


def assemble(spec: ModelSpec) -> nn.Module:
    """The module of a spec, on torch's default device, initialised by its global generator."""
    vision = build_vision_encoder(spec.vision) if spec.vision is not None else None
    language = _language(spec.language) if spec.language is not None else None
    if spec.options is not None:
        return ConditionalLogit(spec.options, language)
    if spec.linear_reward is not None:
        return LinearReward(spec.linear_reward)
    if spec.bridge is not None:
        seeing = BRIDGES[spec.bridge.kind](spec, language, vision)
        if spec.classifier is not None:
            seeing.add_module(LAYER, score_layer(seeing.spec.width))
        return seeing
    if spec.classifier is not None:
        assert language is not None
        return Classifier(language, spec.classifier)
    model = language if language is not None else vision
    assert model is not None
    return model


def outline(spec: ModelSpec) -> nn.Module:
    """The module of a spec without memory for its tensors: on the meta device, and nothing is initialised."""
    with torch.device("meta"), _NoInitialisation():
        return assemble(spec)


class _NoInitialisation(TorchFunctionMode):
    """Leaves out `torch.nn.init`, which on the meta device would load all of torch's compiler to no effect."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return None
        return func(*args, **(kwargs or {}))


def build_vision_encoder(spec: VisionSpec) -> VisionEncoder:
    """A vision encoder: pixels `(batch, 3, height, width)` to features `(batch, patches, width)`."""
    return VISION_ENCODERS[spec.kind](spec)


def _language(spec: TransformerSpec) -> LanguageModel | EncoderDecoder:
    model: LanguageModel | EncoderDecoder
    model = EncoderDecoder(spec) if spec.kind == "encoder-decoder" else LanguageModel(spec)
    if next(model.parameters()).device.type != "meta":
        initialise(model, spec)
    return model


@cache
def presets() -> dict[str, ModelSpec]:
    """Every preset by name, read from `sepiola/models/presets/*.yaml`; one file holds one family."""
    resolved = _resolve(raw_presets())
    return {name: ModelSpec.parse({"name": name, **full}, f"preset {name}") for name, full in resolved.items()}


def resolve_model(raw: str | Plain, source: str = "model") -> ModelSpec:
    """A model as recipes write it: a preset's name, a preset with changes (`like: name`), or a whole spec.

    Raises SpecError for an unknown preset or a wrong key.
    """
    if isinstance(raw, str):
        return preset(raw)
    if isinstance(raw, dict):
        _check_named(raw, source)
        raw = {"name": raw.get("like", "model"), **_resolve({**raw_presets(), "": raw})[""]}
    return ModelSpec.parse(raw, source)


def _check_named(raw: Plain, source: str) -> None:
    """Raises SpecError for a preset that is not known, and for one that has not the part asked of it."""
    if "like" in raw and not isinstance(raw["like"], str):
        raise SpecError(f"{source}: like: expected the name of a preset, got {shown(raw['like'])}")
    for key in ("like", "language", "vision"):
        if isinstance(name := raw.get(key), str):
            named = preset(name)
            if key != "like" and getattr(named, key) is None:
                raise SpecError(f"{source}: {key}: the preset '{name}' has no '{key}'; name one that has")


@cache
def raw_presets() -> Plain:
    """Every preset as its file writes it: what it is `like`, and what it changes."""
    raw: Plain = {}
    for file in sorted(resources.files("sepiola.models.presets").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".yaml"):
            raw |= parse_yaml(file.read_text(encoding="utf-8"), file.name)
    return raw


def _resolve(raw: dict[str, Plain]) -> dict[str, Plain]:
    """Writes presets out in full: `like: other` is that preset with some keys changed, at any depth, and
    `vision: other` or `language: other` is that preset's part. A part that stands alone is of its preset's family."""
    done: dict[str, Plain] = {}

    def full(name: str) -> Plain:
        if name not in done:
            changes, named = dict(raw[name]), Plain()
            for part in ("language", "vision"):
                if isinstance(changes.get(part), str):
                    named[part] = full(changes.pop(part))[part]
            parent = changes.pop("like", None)
            whole = {**(merge(full(parent), changes) if parent else changes), **named}
            alone = [part for part in ("language", "vision") if part in whole]
            if len(alone) == 1 and "bridge" not in whole and isinstance(whole[alone[0]], dict):
                whole[alone[0]] = {**whole[alone[0]], "family": whole.get("family", "")}
            done[name] = whole
        return done[name]

    return {name: full(name) for name in raw}


def merge(base: Plain, change: Plain) -> Plain:
    """`base` with `change` laid over it; dicts merge, everything else replaces, None removes."""
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def preset(name: str) -> ModelSpec:
    """The spec of a preset. Raises SpecError with the nearest known name."""
    known = presets()
    if name not in known:
        raise SpecError(f"no preset is named '{brief(name)}'; {nearest(name, known)}")
    return known[name]


def parameter_counts(spec: ModelSpec) -> dict[str, int]:
    """Parameters of each part (`language`, `vision`, `bridge`) and in all (`total`), buffers not counted."""
    model = outline(spec)
    whole = "language" if spec.language is not None else "vision"
    parts = model.parts() if isinstance(model, VisionLanguageModel | HashedLinear) else {whole: model}
    counts = {part: count(module) for part, module in parts.items()}
    return {**counts, "total": count(model)}


def count(module: nn.Module) -> int:
    """Parameters of a module; a shared one counts once."""
    return sum(p.numel() for p in module.parameters())
