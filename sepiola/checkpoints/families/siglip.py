"""SigLIP in the Hub's layout (google/siglip-*): both towers (`SiglipModel`), or the image encoder
(`SiglipVisionModel`).

The features are the last layer's normalised states. The attention-pooling head after them belongs to what compares the
towers: a vision encoder alone has none, and is written with `vision_use_head: false`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, part_of
from sepiola.checkpoints.families import towers
from sepiola.checkpoints.families.towers import VISION, dual_of, layers, text_from_config, text_to_config
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

IGNORED = ("head.", "embeddings.position_ids")

_TEXT = {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 64,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "pad_token_id": 1,
}
_COMPARED = {"image": "attention", "text": "last", "loss": "sigmoid"}
_HEAD = f"{VISION}head"
_BRIDGE = [
    NameMap("bridge.pool.query", (f"{_HEAD}.probe",)),
    NameMap("bridge.pool.qkv.weight", (f"{_HEAD}.attention.in_proj_weight",)),
    NameMap("bridge.pool.qkv.bias", (f"{_HEAD}.attention.in_proj_bias",)),
    *pair("bridge.pool.out", f"{_HEAD}.attention.out_proj"),
    *pair("bridge.pool.norm", f"{_HEAD}.layernorm"),
    *pair("bridge.pool.feed_forward.up", f"{_HEAD}.mlp.fc1"),
    *pair("bridge.pool.feed_forward.down", f"{_HEAD}.mlp.fc2"),
    *pair("bridge.text_projection", "text_model.head"),
    NameMap("bridge.scale", ("logit_scale",)),
    NameMap("bridge.bias", ("logit_bias",)),
]


def spec_from_config(
    config: Config,
    state: Mapping[str, Tensor] | None = None,
    *,
    preprocessor: Config | None = None,
) -> ModelSpec:
    """The spec of `config.json` (SigLIP's or its image encoder's) and, when given, `preprocessor_config.json`."""
    if config.get("model_type") == "siglip":
        image = spec_from_config(part_of(config, "vision_config") or {}, preprocessor=preprocessor)
        text = text_from_config(part_of(config, "text_config") or {}, _TEXT, "encoder")
        bridge = {"kind": "dual", "width": vit_of(image).width, "bias": True, **_COMPARED}
        raw = {"name": "siglip", "family": "siglip", "vision": image.vision, "language": text, "bridge": bridge}
        return ModelSpec.parse(raw, "config.json")
    default = PixelSpec(size=side(config.get("image_size", 224), "image_size"), filter="bicubic")
    vision = {
        **stack_from_config(config, "siglip", eps=1e-6, patch=16, activation="gelu_pytorch_tanh"),
        "pixels": at_size(pixels_from_preprocessor(preprocessor, default), default.size),
        "class_token": False,
    }
    return ModelSpec.parse({"name": "siglip", "family": "siglip", "vision": vision}, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    if spec.language is not None:
        bridge = dual_of(spec, bias=True, **_COMPARED)
        image = spec.model_copy(update={"language": None, "bridge": None})
        text = {"model_type": "siglip_text_model", **text_to_config(spec.language, "encoder")}
        return {
            "architectures": ["SiglipModel"],
            "model_type": "siglip",
            "vision_config": {**config_from_spec(image), "vision_use_head": True},
            "text_config": {**text, "projection_size": bridge.width},
        }
    vision = plain(spec, class_token=False, input_norm=False, patch_bias=True, final_norm=True)
    return {
        "architectures": ["SiglipVisionModel"],
        "model_type": "siglip_vision_model",
        **stack_to_config(vision),
        "vision_use_head": False,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one; names that no table knows pass through."""
    return towers.to_ours(state, spec, _BRIDGE, _image_to_ours) if spec.language else _image_to_ours(state, spec)


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    return towers.to_hub(state, spec, _BRIDGE, _image_to_hub) if spec.language else _image_to_hub(state, spec)


def _image_to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    short = renamed(state, lambda name: name.removeprefix(VISION))
    kept = renamed(short, lambda name: None if name.startswith(IGNORED) else name)
    return with_changes(
        rows_to_ours(kept, _table(vit_of(spec))),
        {"patch_embedding.weight": flat_patches, "positions": lambda table: table[None]},
    )


def _image_to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    vision = vit_of(spec)
    named = rows_to_hub(square_patches({**state, "positions": state["positions"][0]}, vision), _table(vision))
    return {f"{VISION}{name}": value for name, value in named.items()}


def _table(vision: ViTSpec) -> list[NameMap]:
    return [
        NameMap("positions", ("embeddings.position_embedding.weight",)),
        *pair("patch_embedding", "embeddings.patch_embedding"),
        *pair("norm", "post_layernorm"),
        *layers("", "", vision.layers),
    ]
