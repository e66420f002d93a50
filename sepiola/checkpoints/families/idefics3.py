"""Idefics3 and SmolVLM in the Hub's layout (HuggingFaceM4/Idefics3-*, HuggingFaceTB/SmolVLM-*).

SigLIP's encoder, pixel shuffle and a linear layer, LLaMA. Tiles are whole squares, so the vision encoder's fractional
positions are its plain grid (exact for sides of up to 18 patches, and for the published 26, 27 and 32).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints import parts
from sepiola.checkpoints.config import JSON, Config, filled, part_of
from sepiola.checkpoints.families.vit import side
from sepiola.checkpoints.lazy import LazyTensors
from sepiola.errors import CheckpointError
from sepiola.specs.bridge import ProjectionSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import GridSpec, PixelSpec, ViTSpec

HOLDS_VISION = True

_ARCHITECTURES = {"idefics3": "Idefics3", "smolvlm": "SmolVLM"}
# Part, how its names begin in the files after `model.` (which bare models lack), and in its own family's.
_PREFIXES = (
    ("language", "lm_head.", "lm_head."),
    ("language", "text_model.", "model."),
    ("vision", "vision_model.", ""),
    ("bridge", "connector.modality_projection.proj.", "layers.0."),
)
_VISION: JSON = {"image_size": 224, "patch_size": 32, "hidden_size": 1152, "num_attention_heads": 16}
_DEFAULTS: JSON = {"image_token_id": 128257, "scale_factor": 2, "tie_word_embeddings": False}


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint."""
    kind = config["model_type"]
    config = filled(config, _DEFAULTS)
    image = {**_VISION, **(part_of(config, "vision_config") or {}), "model_type": "siglip_vision_model"}
    tile = side(image["image_size"], "vision_config.image_size")
    if not preprocessor:
        pixels = PixelSpec(size=tile, filter="lanczos", tiles=GridSpec(kind="grid", longest=min(4 * tile, 4096)))
        vision = parts.vision_spec(image, None).model_copy(update={"pixels": pixels})
    else:
        vision = parts.vision_spec(image, preprocessor)
    bridge = {"kind": "projection", "token": config["image_token_id"], "bias": False, "shuffle": config["scale_factor"]}
    return ModelSpec(
        name=kind,
        family=kind,
        vision=vision,
        bridge=ProjectionSpec.parse(bridge, "config.json"),
        language=parts.text_spec(config, state, _part_of, silent="llama"),
    )


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    vision, bridge, language = spec.vision, spec.bridge, spec.language
    if not isinstance(vision, ViTSpec) or not isinstance(bridge, ProjectionSpec) or language is None:
        raise CheckpointError(f"the layout of {spec.family} holds a ViT, a projection and a decoder")
    if bridge.layers != 1 or bridge.bias:
        raise CheckpointError(f"the projection of {spec.family} has one layer without a bias")
    return {
        "architectures": [f"{_ARCHITECTURES[spec.family]}ForConditionalGeneration"],
        "model_type": spec.family,
        "image_token_id": bridge.token,
        "scale_factor": bridge.shuffle,
        "tie_word_embeddings": language.tied,
        "text_config": parts.text_config(language),
        "vision_config": {**parts.vision_config(vision), "model_type": f"{spec.family}_vision"},
    }


def processor_from_spec(spec: ModelSpec) -> JSON:
    """The `processor_config.json` of `transformers`: how many placeholders a tile takes."""
    assert isinstance(spec.vision, ViTSpec) and isinstance(spec.bridge, ProjectionSpec)
    tokens = (spec.vision.pixels.size // spec.vision.patch) ** 2 // spec.bridge.shuffle**2
    return {"processor_class": "Idefics3Processor", "image_seq_len": tokens}


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one."""
    return parts.to_ours(state, spec, _part_of)


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    stored = parts.to_hub(state, spec)
    language = {name.replace("model.", "model.text_model.", 1): value for name, value in stored["language"].items()}
    return {
        **language,
        **{f"model.{name}": value for name, value in stored["vision"].items()},
        "model.connector.modality_projection.proj.weight": stored["bridge"]["layers.0.weight"],
    }


def _part_of(name: str) -> tuple[str, str]:
    for part, hub, ours in _PREFIXES:
        if name.removeprefix("model.").startswith(hub):
            return part, ours + name.removeprefix("model.").removeprefix(hub)
    return "bridge", name
