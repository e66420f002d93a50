"""LLaVA-OneVision in the Hub's layout (llava-hf/llava-onevision-qwen2-*): SigLIP, a projection of two layers, Qwen2.

It is LLaVA's layout with a picture in tiles, whose lines a learned token ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, filled, part_of
from sepiola.checkpoints.families import llava
from sepiola.checkpoints.lazy import LazyTensors, renamed
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import AnyResSpec, ViTSpec

HOLDS_VISION = True

# A vision encoder that the config leaves out whole.
_VISION: JSON = {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14, "hidden_size": 1152}
_VISION |= {"intermediate_size": 4304, "num_hidden_layers": 26, "num_attention_heads": 16}
_DEFAULTS: JSON = {"vision_aspect_ratio": "anyres_max_9", "image_grid_pinpoints": list, "image_token_id": int}
_SILENT: JSON = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
_NEWLINE = {"image_newline": "bridge.newline", "model.image_newline": "bridge.newline"}
_GRIDS = [[rows, columns] for rows in range(1, 7) for columns in range(1, 7)]


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint. Raises CheckpointError for resolutions that are not whole tiles."""
    config = filled({**_SILENT, **config}, _DEFAULTS)
    image = part_of(config, "vision_config")
    image = _VISION if image is None else {"model_type": "siglip_vision_model", **image}
    tile = filled(image, {"image_size": 224}, "config.json: vision_config")["image_size"]
    points = config["image_grid_pinpoints"] or [[tile * side for side in grid] for grid in _GRIDS]
    most = re.fullmatch(r"anyres_max_(\d{1,3})", config["vision_aspect_ratio"])
    if most is None or not all(_is_grid(point, tile) for point in points):
        raise CheckpointError(
            f"config.json: vision_aspect_ratio '{config['vision_aspect_ratio']}' and image_grid_pinpoints; "
            f"expected 'anyres_max_N' and pairs of multiples of image_size ({tile})"
        )
    if config.get("image_token_index") is None and config["image_token_id"] is None:
        config["image_token_id"] = 151646
    text = {"model_type": "qwen2", **(part_of(config, "text_config") or {})}
    spec = llava.spec_from_config(
        {**config, "vision_config": image, "text_config": text},
        renamed(state, lambda name: None if name in _NEWLINE else name),
        preprocessor={k: v for k, v in (preprocessor or {}).items() if k != "image_grid_pinpoints"},
    )
    assert isinstance(spec.vision, ViTSpec)
    grids = [[side // tile for side in point] for point in points]
    tiles = AnyResSpec.parse({"kind": "anyres", "grids": grids, "most": int(most[1])}, "image_grid_pinpoints")
    pixels = spec.vision.pixels.model_copy(update={"mode": "squash", "tiles": tiles})
    vision = spec.vision.model_copy(update={"pixels": pixels})
    return spec.model_copy(update={"name": "llava_onevision", "family": "llava_onevision", "vision": vision})


def _is_grid(point: object, tile: int) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(isinstance(s, int) and not s % tile for s in point)


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    vision = spec.vision
    if not isinstance(vision, ViTSpec) or not isinstance(vision.pixels.tiles, AnyResSpec):
        raise CheckpointError("LLaVA-OneVision's vision encoder is a ViT, its tiles of kind 'anyres'")
    tile, tiles = vision.pixels.size, vision.pixels.tiles
    return {
        **llava.config_from_spec(spec),
        "architectures": ["LlavaOnevisionForConditionalGeneration"],
        "model_type": "llava_onevision",
        "image_grid_pinpoints": [[tile * side for side in grid] for grid in tiles.grids],
        "vision_aspect_ratio": f"anyres_max_{tiles.most}",
    }


def processor_from_spec(spec: ModelSpec) -> JSON:
    """The `processor_config.json` of `transformers`: the placeholders of a tile, and how many tiles may have."""
    assert isinstance(spec.vision, ViTSpec) and isinstance(spec.vision.pixels.tiles, AnyResSpec)
    return {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": (spec.vision.pixels.size // spec.vision.patch) ** 2,
        "vision_feature_select_strategy": "default" if spec.vision.patch_features else "full",
        "vision_aspect_ratio": f"anyres_max_{spec.vision.pixels.tiles.most}",
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one."""
    rest = llava.to_ours(renamed(state, lambda name: None if name in _NEWLINE else name), spec)
    return LazyTensors({**rest.reads, **renamed(state, _NEWLINE.get).reads})


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours, with the names of the files on the Hub."""
    rest = {name: value for name, value in state.items() if name != "bridge.newline"}
    return {**llava.to_hub(rest, spec), "image_newline": state["bridge.newline"]}
