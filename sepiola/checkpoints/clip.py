"""CLIP's image encoder in the Hub's layout (openai/clip-vit-*): out of a `CLIPModel` or `CLIPVisionModel`.

The features are the last layer's states; the norm after them (`post_layernorm`), which only the pooled output
uses, is kept. Written checkpoints hold a `CLIPVisionModel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sepiola.checkpoints.lazy import LazyTensors, renamed, with_changes
from sepiola.checkpoints.names import Row
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.checkpoints.preprocessor import pixels_from_preprocessor
from sepiola.checkpoints.towers import layers
from sepiola.checkpoints.vit import (
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
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import PixelSpec, ViTSpec

# The text tower and the projections into the space that both towers share; position_ids is a constant.
IGNORED = (
    "text_model.",
    "text_projection.",
    "visual_projection.",
    "logit_scale",
    "vision_model.embeddings.position_ids",
    "embeddings.position_ids",
)

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def spec_from_config(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
    *,
    preprocessor: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """The spec of `config.json` (CLIP's or its image encoder's) and, when given,
    `preprocessor_config.json`."""
    config = config.get("vision_config") or config
    size = side(config.get("image_size", 224), "image_size")
    default = PixelSpec(size=size, mode="crop", filter="bicubic", mean=_MEAN, std=_STD)
    vision = {
        **stack_from_config(config, eps=1e-5, patch=32, activation="quick_gelu"),
        "pixels": at_size(pixels_from_preprocessor(preprocessor, default), size),
        "patch_bias": False,
        "input_norm": True,
        "final_norm": False,
    }
    return ModelSpec.parse({"name": "clip", "family": "clip", "vision": vision}, "config.json")


def config_from_spec(spec: ModelSpec) -> dict[str, Any]:
    """The `config.json` that `transformers` reads."""
    vision = plain(spec, input_norm=True, patch_bias=False, final_norm=False)
    return {
        "architectures": ["CLIPVisionModel"],
        "model_type": "clip_vision_model",
        **stack_to_config(vision),
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one; names that no table knows pass through."""
    kept = renamed(state, lambda name: None if name.startswith(IGNORED) else name.removeprefix("vision_model."))
    return with_changes(
        rows_to_ours(kept, _table(vit_of(spec))),
        {
            "patch_embedding.weight": flat_patches,
            "class_token": lambda token: token.reshape(1, 1, -1),
            "positions": lambda table: table[None],
        },
    )


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    vision = vit_of(spec)
    flat = {**state, "class_token": state["class_token"].flatten(), "positions": state["positions"][0]}
    named = rows_to_hub(square_patches(flat, vision), _table(vision))
    return {f"vision_model.{name}": value for name, value in named.items()}


def _table(vision: ViTSpec) -> list[Row]:
    return [
        Row("class_token", ("embeddings.class_embedding",)),
        Row("positions", ("embeddings.position_embedding.weight",)),
        Row("patch_embedding.weight", ("embeddings.patch_embedding.weight",)),
        *pair("input_norm", "pre_layrnorm"),
        *pair("norm", "post_layernorm"),
        *layers("", "", vision.layers),
    ]
