"""LLaVA-1.5 in the Hub's layout (llava-hf/llava-1.5-*): CLIP, a projection of two layers, LLaMA and its heirs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints import parts
from sepiola.checkpoints.config import JSON, Config, activation_from, activation_to, filled, part_of
from sepiola.checkpoints.lazy import LazyTensors
from sepiola.errors import CheckpointError
from sepiola.specs.bridge import ProjectionSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import ViTSpec

HOLDS_VISION = True

# Part, and how its names begin, in files since transformers 4.52 after `model.`; the parts' families know the rest.
_PREFIXES = (
    ("language", "language_model.", ""),
    ("language", "lm_head.", "lm_head."),
    ("vision", "vision_tower.", ""),
    ("bridge", "multi_modal_projector.linear_1.", "layers.0."),
    ("bridge", "multi_modal_projector.linear_2.", "layers.1."),
)
# A vision encoder that the config leaves out whole.
_VISION: JSON = {"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14, "hidden_size": 1024}
_VISION |= {"intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
_DEFAULTS: JSON = {
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
    "image_token_index": int,
    "image_token_id": int,
    "projector_hidden_act": "gelu",
    "multimodal_projector_bias": True,
    "tie_word_embeddings": False,
}


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint. Raises CheckpointError for LLaVA's own layout and for several feature layers."""
    if "mm_vision_tower" in config or "mm_projector_type" in config:
        raise CheckpointError(
            "config.json is in LLaVA's original layout, whose vision encoder lies elsewhere, and cannot be read; take "
            "the same model of llava-hf, or convert it with transformers (convert_llava_weights_to_hf.py)"
        )
    if isinstance(config.get("vision_feature_layer"), list):
        raise CheckpointError(f"config.json: vision_feature_layer {config['vision_feature_layer']}; one is supported")
    config = filled(config, _DEFAULTS)
    layer, which = config["vision_feature_layer"], config["vision_feature_select_strategy"]
    image = part_of(config, "vision_config")
    vision = parts.vision_spec(_VISION if image is None else {"model_type": "clip_vision_model", **image}, preprocessor)
    language = parts.text_spec(config, state, part_name, silent="llama")
    if not isinstance(vision, ViTSpec):
        raise CheckpointError(f"config.json: LLaVA's vision encoder is a ViT, got '{vision.kind}'")
    layer = layer if layer < 0 else layer - vision.layers - 1
    return ModelSpec(
        name="llava",
        family="llava",
        vision=vision.model_copy(
            update={"feature_layer": layer, "patch_features": which == "default", "final_norm": False}
        ),
        bridge=ProjectionSpec.parse(
            {
                "kind": "projection",
                "token": image_token(config, 32000),
                "layers": 2,
                "activation": activation_from(config["projector_hidden_act"]),
                "bias": config["multimodal_projector_bias"],
            },
            "config.json",
        ),
        language=language,
    )


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    vision, bridge, language = spec.vision, spec.bridge, spec.language
    if not isinstance(vision, ViTSpec) or not isinstance(bridge, ProjectionSpec) or language is None:
        raise CheckpointError("LLaVA's layout holds a ViT, a projection and a decoder")
    if bridge.layers != 2 or bridge.shuffle != 1:
        raise CheckpointError("LLaVA's projection has two layers and no shuffle")
    if vision.final_norm and vision.feature_layer == -1:
        raise CheckpointError("LLaVA's features are a layer's states without the final norm (vision.final_norm: false)")
    alone = vision.model_copy(
        update={"feature_layer": -1, "patch_features": False, "final_norm": not vision.input_norm}
    )  # as the vision encoder's own family has them
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": bridge.token,
        "image_seq_length": (vision.pixels.size // vision.patch) ** 2 + (not vision.patch_features),
        "projector_hidden_act": activation_to(bridge.activation),
        "multimodal_projector_bias": bridge.bias,
        "vision_feature_layer": vision.feature_layer,
        "vision_feature_select_strategy": "default" if vision.patch_features else "full",
        "pad_token_id": language.tokens.pad,
        "tie_word_embeddings": language.tied,
        "text_config": parts.text_config(language),
        "vision_config": parts.vision_config(alone),
    }


def processor_from_spec(spec: ModelSpec) -> JSON:
    """The `processor_config.json` of `transformers`: from it follows how many placeholders an image takes."""
    assert isinstance(spec.vision, ViTSpec)
    return {
        "processor_class": "LlavaProcessor",
        "patch_size": spec.vision.patch,
        "num_additional_image_tokens": int(spec.vision.class_token),
        "vision_feature_select_strategy": "default" if spec.vision.patch_features else "full",
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one."""
    return parts.to_ours(state, spec, part_name)


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours, with the names of the files on the Hub."""
    stored = parts.to_hub(state, spec)
    linear = {"layers.0": "linear_1", "layers.1": "linear_2"}
    return {
        **{f"language_model.{name}": value for name, value in stored["language"].items()},
        **{f"vision_tower.{name}": value for name, value in stored["vision"].items()},
        **{f"multi_modal_projector.{linear[n[:8]]}{n[8:]}": value for n, value in stored["bridge"].items()},
    }


def image_token(config: Config, default: int) -> int:
    """The id of a picture's placeholder, by either of its keys."""
    given = (config[key] for key in ("image_token_index", "image_token_id") if config[key] is not None)
    return int(next(given, default))


def part_name(name: str) -> tuple[str, str]:
    """The part that a Hub name belongs to, and its name there."""
    for part, hub, ours in _PREFIXES:
        if name.removeprefix("model.").startswith(hub):
            return part, ours + name.removeprefix("model.").removeprefix(hub)
    return "bridge", name
