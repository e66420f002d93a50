"""DETR in the Hub's layout (facebook/detr-resnet-*): `DetrModel`, alone or under its detection or mask head.

The backbone is read under both of its names: torchvision's, which the published files use (through timm), and
the Hub's own ResNet's. Written checkpoints hold a `DetrModel` over the Hub's own ResNet, so that nobody
needs timm.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, filled, part_of, spelled, where_other
from sepiola.checkpoints.families.resnet import backbone_from_config, backbone_names, backbone_to_config, rename
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.lazy import LazyTensors, renamed
from sepiola.checkpoints.preprocessor import pixels_from_preprocessor
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import BackboneSpec, DETRSpec, PixelSpec

HOLDS_VISION = True
processor_from_spec = no_processor

# Heads of detection and segmentation; the features are what these read.
IGNORED = ("class_labels_classifier.", "bbox_predictor.", "mask_head.", "bbox_attention.")

_DEFAULTS: JSON = {
    "num_queries": 100,
    "d_model": 256,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_ffn_dim": 2048,
    "decoder_ffn_dim": 2048,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "activation_function": "relu",
    "position_embedding_type": "sine",
    "dilation": False,
}
_BACKBONE = "backbone.conv_encoder.model."
_DEPTHS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
_BASIC = ("resnet18", "resnet34")


def spec_from_config(
    config: Config,
    state: Mapping[str, Tensor] | None = None,
    *,
    preprocessor: Config | None = None,
) -> ModelSpec:
    """The spec of `config.json` and, when given, `preprocessor_config.json`.

    Raises CheckpointError for another kind of DETR: dilated (DC5), learned positions, another backbone or activation.
    """
    config = filled(spelled(config, hidden_size="d_model"), _DEFAULTS)
    if config["dilation"] or config["position_embedding_type"] != "sine":
        raise CheckpointError("config.json: only DETR without dilation and with sine positions is supported")
    activation = config["activation_function"]
    if activation != "relu":
        raise CheckpointError(f"config.json: activation_function '{activation}'; only ReLU is supported")
    heads, width = config["decoder_attention_heads"], config["decoder_ffn_dim"]
    default = PixelSpec(size=800, mode="fit", longest=1333, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    vision = {
        "family": "detr",
        "kind": "detr",
        "pixels": pixels_from_preprocessor(preprocessor, default),
        "backbone": {**_backbone(config), "frozen_norm": True},
        "width": config["d_model"],
        "layers": config["decoder_layers"],
        "encoder_layers": config["encoder_layers"],
        "heads": heads,
        "encoder_heads": where_other(config["encoder_attention_heads"], heads),
        "feed_forward": width,
        "encoder_feed_forward": where_other(config["encoder_ffn_dim"], width),
        "queries": config["num_queries"],
    }
    return ModelSpec.parse({"name": "detr", "family": "detr", "vision": vision}, "config.json")


def _backbone(config: Config) -> JSON:
    inner = part_of(config, "backbone_config") or {}
    if inner.get("model_type") == "resnet":
        return backbone_from_config(inner)
    name = inner.get("backbone") or config.get("backbone") or "resnet50"
    if not isinstance(name, str) or name not in _DEPTHS:
        raise CheckpointError(f"config.json: backbone '{name}'; known: {', '.join(_DEPTHS)}")
    widths = BackboneSpec().widths if name not in _BASIC else (64, 128, 256, 512)
    return {"widths": widths, "depths": _DEPTHS[name], "block": "basic" if name in _BASIC else "bottleneck"}


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    vision = _detr(spec)
    last = f"stage{len(vision.backbone.depths)}"
    return {
        "architectures": ["DetrModel"],
        "model_type": "detr",
        "use_timm_backbone": False,
        "use_pretrained_backbone": False,
        "backbone": None,
        "backbone_config": {**backbone_to_config(vision.backbone), "out_features": [last]},
        "d_model": vision.width,
        "encoder_layers": vision.encoder_layers,
        "decoder_layers": vision.layers,
        "encoder_attention_heads": vision.encoder_heads or vision.heads,
        "decoder_attention_heads": vision.heads,
        "encoder_ffn_dim": vision.encoder_feed_forward or vision.feed_forward,
        "decoder_ffn_dim": vision.feed_forward,
        "num_queries": vision.queries,
        "activation_function": "relu",
        "position_embedding_type": "sine",
        "is_encoder_decoder": True,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one; names that no table knows pass through.

    A count of batches (`num_batches_tracked`) has no meaning for frozen normalisation and is dropped.
    """
    kept = renamed(state, _short)
    names = _names(_detr(spec), torchvision=f"{_BACKBONE}conv1.weight" in kept)
    return rename(kept, {hub: ours for ours, hub in names.items()})


def _short(name: str) -> str | None:
    short = name.removeprefix("detr.").removeprefix("model.")
    counts = short.startswith(_BACKBONE) and short.endswith(".num_batches_tracked")
    return None if short.startswith(IGNORED) or counts else short


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    return dict(rename(state, _names(_detr(spec), torchvision=False)))


def _names(vision: DETRSpec, *, torchvision: bool) -> dict[str, str]:
    backbone = backbone_names(vision.backbone, torchvision=torchvision)
    names = {f"backbone.{ours}": f"{_BACKBONE}{hub}" for ours, hub in backbone.items()}
    modules = {
        "project": "input_projection",
        "norm": "decoder.layernorm",
        "queries": "query_position_embeddings",
    }
    for stack, depth in (("encoder", vision.encoder_layers), ("decoder", vision.layers)):
        for layer in range(depth):
            modules |= _layer(f"{stack}.{layer}", f"{stack}.layers.{layer}", cross=stack == "decoder")
    for ours, hub in modules.items():
        names |= {f"{ours}.{kind}": f"{hub}.{kind}" for kind in ("weight", "bias")}
    return names


def _layer(ours: str, hub: str, *, cross: bool) -> dict[str, str]:
    modules = {
        f"{ours}.attention_norm": f"{hub}.self_attn_layer_norm",
        f"{ours}.feed_forward.up": f"{hub}.fc1",
        f"{ours}.feed_forward.down": f"{hub}.fc2",
        f"{ours}.feed_forward_norm": f"{hub}.final_layer_norm",
    }
    kinds = {"attention": "self_attn", "cross": "encoder_attn"} if cross else {"attention": "self_attn"}
    for kind, name in kinds.items():
        modules |= {f"{ours}.{kind}.{part}": f"{hub}.{name}.{part}_proj" for part in ("q", "k", "v", "out")}
    if cross:
        modules[f"{ours}.cross_norm"] = f"{hub}.encoder_attn_layer_norm"
    return modules


def _detr(spec: ModelSpec) -> DETRSpec:
    if not isinstance(spec.vision, DETRSpec):
        raise CheckpointError(f"'{spec.name}' holds no DETR: its vision is {getattr(spec.vision, 'kind', None)}")
    return spec.vision
