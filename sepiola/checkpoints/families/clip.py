"""CLIP in the Hub's layout (openai/clip-vit-*): both towers (`CLIPModel`), or the image encoder (`CLIPVisionModel`).

The features are the last layer's states; the norm after them (`post_layernorm`), which only the pooled output
uses, is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, filled, part_of
from sepiola.checkpoints.families import towers
from sepiola.checkpoints.families.towers import dual_of, layers, text_from_config, text_to_config
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

# Of an image encoder: its projection into the shared space; position_ids is a constant.
IGNORED = ("visual_projection.", "vision_model.embeddings.position_ids", "embeddings.position_ids")

_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}
_BRIDGE = [
    NameMap("bridge.image_projection.weight", ("visual_projection.weight",)),
    NameMap("bridge.text_projection.weight", ("text_projection.weight",)),
    NameMap("bridge.scale", ("logit_scale",)),
]

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def spec_from_config(
    config: Config,
    state: Mapping[str, Tensor] | None = None,
    *,
    preprocessor: Config | None = None,
) -> ModelSpec:
    """The spec of `config.json` (CLIP's or its image encoder's) and, when given,
    `preprocessor_config.json`."""
    if config.get("model_type") == "clip":
        image = spec_from_config(part_of(config, "vision_config") or {}, preprocessor=preprocessor)
        text = text_from_config(part_of(config, "text_config") or {}, _TEXT, "decoder")
        bridge = {"kind": "dual", "width": filled(config, {"projection_dim": 512})["projection_dim"]}
        raw = {"name": "clip", "family": "clip", "vision": image.vision, "language": text, "bridge": bridge}
        return ModelSpec.parse(raw, "config.json")
    size = side(config.get("image_size", 224), "image_size")
    default = PixelSpec(size=size, mode="crop", filter="bicubic", mean=_MEAN, std=_STD)
    vision = {
        **stack_from_config(config, "clip", eps=1e-5, patch=32, activation="quick_gelu"),
        "pixels": at_size(pixels_from_preprocessor(preprocessor, default), size),
        "patch_bias": False,
        "input_norm": True,
        "final_norm": False,
    }
    return ModelSpec.parse({"name": "clip", "family": "clip", "vision": vision}, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    if spec.language is not None:
        bridge = dual_of(spec, image="class", text="end", bias=False, loss="softmax")
        image = spec.model_copy(update={"language": None, "bridge": None})
        return {
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": bridge.width,
            "vision_config": {**config_from_spec(image), "projection_dim": bridge.width},
            "text_config": {
                "model_type": "clip_text_model",
                **text_to_config(spec.language, "decoder"),
                "projection_dim": bridge.width,
            },
        }
    vision = plain(spec, input_norm=True, patch_bias=False, final_norm=False)
    return {
        "architectures": ["CLIPVisionModel"],
        "model_type": "clip_vision_model",
        **stack_to_config(vision),
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one; names that no table knows pass through."""
    return towers.to_ours(state, spec, _BRIDGE, _image_to_ours) if spec.language else _image_to_ours(state, spec)


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    if spec.language is None:
        return _image_to_hub(state, spec)
    whole = towers.to_hub(state, spec, _BRIDGE, _image_to_hub)
    return {**whole, "logit_scale": whole["logit_scale"].reshape(())}


def _image_to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    kept = renamed(state, lambda name: None if name.startswith(IGNORED) else name.removeprefix("vision_model."))
    return with_changes(
        rows_to_ours(kept, _table(vit_of(spec))),
        {
            "patch_embedding.weight": flat_patches,
            "class_token": lambda token: token.reshape(1, 1, -1),
            "positions": lambda table: table[None],
        },
    )


def _image_to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    vision = vit_of(spec)
    flat = {**state, "class_token": state["class_token"].flatten(), "positions": state["positions"][0]}
    named = rows_to_hub(square_patches(flat, vision), _table(vision))
    return {f"vision_model.{name}": value for name, value in named.items()}


def _table(vision: ViTSpec) -> list[NameMap]:
    return [
        NameMap("class_token", ("embeddings.class_embedding",)),
        NameMap("positions", ("embeddings.position_embedding.weight",)),
        *pair("patch_embedding", "embeddings.patch_embedding"),
        *pair("input_norm", "pre_layrnorm"),
        *pair("norm", "post_layernorm"),
        *layers("", "", vision.layers),
    ]
