"""SigLIP's image encoder (arXiv 2303.15343) in the Hub's layout (google/siglip-*): out of a `SiglipVisionModel`.

A ViT without a class token. The pooling head, which the features need not, is left out, and written checkpoints have
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sepiola.checkpoints.clip import table
from sepiola.checkpoints.lazy import LazyTensors, renamed, with_changes
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.checkpoints.preprocessor import pixels_from_preprocessor
from sepiola.checkpoints.vit import (
    at_size,
    flat_patches,
    plain,
    side,
    square_patches,
    stack_from_config,
    stack_to_config,
    vit_of,
)
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import PixelSpec

VISION = "siglip_vision_model"
IGNORED = ("head.", "embeddings.position_ids")


def spec_from_config(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
    *,
    preprocessor: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """The spec of `config.json` and, when given, `preprocessor_config.json`."""
    size = side(config.get("image_size", 224), "image_size")
    vision = {
        **stack_from_config(config, eps=1e-6, patch=16, activation="gelu_pytorch_tanh"),
        "pixels": at_size(pixels_from_preprocessor(preprocessor, PixelSpec(size=size, filter="bicubic")), size),
        "class_token": False,
    }
    return ModelSpec.parse({"name": VISION, "family": VISION, "vision": vision}, "config.json")


def config_from_spec(spec: ModelSpec) -> dict[str, Any]:
    """The `config.json` that `transformers` reads."""
    vision = plain(spec, class_token=False, input_norm=False, patch_bias=True, final_norm=True)
    return {
        "architectures": ["SiglipVisionModel"],
        "model_type": VISION,
        **stack_to_config(vision),
        "vision_use_head": False,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one; names that no table knows pass through."""

    def kept(name: str) -> str | None:
        own = name.removeprefix("vision_model.")
        return None if own.startswith(IGNORED) else own

    rows = rows_to_ours(renamed(state, kept), table(vit_of(spec)))
    return with_changes(rows, {"patch_embedding.weight": flat_patches, "positions": lambda positions: positions[None]})


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    vision = vit_of(spec)
    squared = square_patches({**state, "positions": state["positions"][0]}, vision)
    return {f"vision_model.{name}": value for name, value in rows_to_hub(squared, table(vision)).items()}
