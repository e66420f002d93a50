"""EVA-CLIP-g as BLIP-2 and InstructBLIP hold it (arXiv 2303.15389, 2301.12597): `Blip2VisionModel` and its twin.

A plain ViT under names of its own. Its keys' bias was fixed at zero in training and is written with the others, as the
published files have it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, filled
from sepiola.checkpoints.families.towers import VISION
from sepiola.checkpoints.families.vit import (
    at_size,
    flat_patches,
    pair,
    plain,
    side,
    square_patches,
    stack_from_config,
    stack_to_config,
    vit_of,
)
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.lazy import LazyTensors, renamed, with_changes
from sepiola.checkpoints.names import NameMap
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.checkpoints.preprocessor import pixels_from_preprocessor
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import PixelSpec, ViTSpec

HOLDS_VISION = True
processor_from_spec = no_processor

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_PUBLISHED = {
    "patch_size": 14,
    "hidden_size": 1408,
    "num_hidden_layers": 39,
    "num_attention_heads": 16,
    "intermediate_size": 6144,
}


def spec_from_config(
    config: Config,
    state: Mapping[str, Tensor] | None = None,
    *,
    preprocessor: Config | None = None,
) -> ModelSpec:
    """The spec of `config.json` and, when given, `preprocessor_config.json`."""
    config = filled({**_PUBLISHED, **config}, {"qkv_bias": True})
    size = side(config.get("image_size", 224), "image_size")
    default = PixelSpec(size=size, filter="bicubic", mean=_MEAN, std=_STD)
    vision = {
        **stack_from_config(config, "blip_2_vision_model", eps=1e-6, patch=14, activation="gelu"),
        "pixels": at_size(pixels_from_preprocessor(preprocessor, default), size),
    }
    if not config["qkv_bias"]:
        vision["attention"] |= {"bias": False, "output_bias": True}
    return ModelSpec.parse({"name": "eva", "family": "blip_2_vision_model", "vision": vision}, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    vision = plain(spec, input_norm=False, patch_bias=True, final_norm=True)
    return {
        "architectures": ["Blip2VisionModel"],
        "model_type": "blip_2_vision_model",
        **stack_to_config(vision),
        "qkv_bias": vision.attention.bias,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one; names that no table knows pass through."""
    short = renamed(state, lambda name: name.removeprefix(VISION))
    return with_changes(rows_to_ours(short, _table(vit_of(spec))), {"patch_embedding.weight": flat_patches})


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    vision = vit_of(spec)
    return rows_to_hub(square_patches(state, vision), _table(vision))


def _table(vision: ViTSpec) -> list[NameMap]:
    rows = [
        NameMap("class_token", ("embeddings.class_embedding",)),
        NameMap("positions", ("embeddings.position_embedding",)),
        *pair("patch_embedding", "embeddings.patch_embedding"),
        *pair("norm", "post_layernorm"),
    ]
    for layer in range(vision.layers):
        ours, hub = f"layers.{layer}", f"encoder.layers.{layer}"
        rows += [
            *pair(f"{ours}.attention_norm", f"{hub}.layer_norm1"),
            *pair(f"{ours}.attention.qkv", f"{hub}.self_attn.qkv"),
            *pair(f"{ours}.attention.out", f"{hub}.self_attn.projection"),
            *pair(f"{ours}.feed_forward_norm", f"{hub}.layer_norm2"),
            *pair(f"{ours}.feed_forward.up", f"{hub}.mlp.fc1"),
            *pair(f"{ours}.feed_forward.down", f"{hub}.mlp.fc2"),
        ]
    return rows
