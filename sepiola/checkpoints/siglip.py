"""SigLIP's image encoder in the Hub's layout (google/siglip-*, arXiv 2303.15343): a `SiglipVisionModel`.

The features are the last layer's normalised states; the attention-pooling head after them is of no use to an eye, and
is written nowhere (`vision_use_head: false`).
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
from sepiola.checkpoints.towers import VISION, layers
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

IGNORED = ("head.", "embeddings.position_ids")


def spec_from_config(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
    *,
    preprocessor: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """The spec of `config.json` and, when given, `preprocessor_config.json`."""
    default = PixelSpec(size=side(config.get("image_size", 224), "image_size"), filter="bicubic")
    vision = {
        **stack_from_config(config, eps=1e-6, patch=16, activation="gelu_pytorch_tanh"),
        "pixels": at_size(pixels_from_preprocessor(preprocessor, default), default.size),
        "class_token": False,
    }
    return ModelSpec.parse({"name": "siglip", "family": "siglip", "vision": vision}, "config.json")


def config_from_spec(spec: ModelSpec) -> dict[str, Any]:
    """The `config.json` that `transformers` reads."""
    vision = plain(spec, class_token=False, input_norm=False, patch_bias=True, final_norm=True)
    return {
        "architectures": ["SiglipVisionModel"],
        "model_type": "siglip_vision_model",
        **stack_to_config(vision),
        "vision_use_head": False,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one; names that no table knows pass through."""
    short = renamed(state, lambda name: name.removeprefix(VISION))
    kept = renamed(short, lambda name: None if name.startswith(IGNORED) else name)
    return with_changes(
        rows_to_ours(kept, _table(vit_of(spec))),
        {"patch_embedding.weight": flat_patches, "positions": lambda table: table[None]},
    )


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    vision = vit_of(spec)
    named = rows_to_hub(square_patches({**state, "positions": state["positions"][0]}, vision), _table(vision))
    return {f"{VISION}{name}": value for name, value in named.items()}


def _table(vision: ViTSpec) -> list[Row]:
    return [
        Row("positions", ("embeddings.position_embedding.weight",)),
        *pair("patch_embedding", "embeddings.patch_embedding"),
        *pair("norm", "post_layernorm"),
        *layers("", "", vision.layers),
    ]
