"""Plain ViT in the Hub's layout (google/vit-*): `ViTModel` or `ViTForImageClassification`, read and written.

Written checkpoints hold a `ViTModel` without pooler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, activation_from, activation_to, filled
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.lazy import LazyTensors, renamed, with_changes
from sepiola.checkpoints.names import NameMap
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.checkpoints.preprocessor import pixels_from_preprocessor
from sepiola.errors import CheckpointError, shown
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import PixelSpec, ViTSpec

HOLDS_VISION = True
processor_from_spec = no_processor

# What a ViT checkpoint may hold beside the encoder; its features need none of it.
IGNORED = ("classifier.", "pooler.", "vit.pooler.")

MAX_SIDE = 2**13
_STACK: JSON = {
    "num_channels": 3,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}


def spec_from_config(
    config: Config,
    state: Mapping[str, Tensor] | None = None,
    *,
    preprocessor: Config | None = None,
) -> ModelSpec:
    """The spec of `config.json` and, when given, `preprocessor_config.json`."""
    config = filled(config, {"hidden_dropout_prob": 0.0, "qkv_bias": True})
    default = PixelSpec(size=side(config.get("image_size", 224), "image_size"))
    vision = {
        **stack_from_config(config, "vit", eps=1e-12, patch=16, activation="gelu"),
        "pixels": at_size(pixels_from_preprocessor(preprocessor, default), default.size),
        "dropout": config["hidden_dropout_prob"],
    }
    if not config["qkv_bias"]:
        vision["attention"] |= {"bias": False, "output_bias": True}
    return ModelSpec.parse({"name": "vit", "family": "vit", "vision": vision}, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    vision = plain(spec, input_norm=False, patch_bias=True, final_norm=True)
    return {
        "architectures": ["ViTModel"],
        "model_type": "vit",
        **stack_to_config(vision),
        "qkv_bias": vision.attention.bias,
        "hidden_dropout_prob": vision.dropout,
        "attention_probs_dropout_prob": vision.dropout,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one; names that no table knows pass through."""
    kept = renamed(state, lambda name: None if name.startswith(IGNORED) else name.removeprefix("vit."))
    return with_changes(rows_to_ours(kept, _table(vit_of(spec))), {"patch_embedding.weight": flat_patches})


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    vision = vit_of(spec)
    return rows_to_hub(square_patches(state, vision), _table(vision))


def _table(vision: ViTSpec) -> list[NameMap]:
    rows = [
        NameMap("class_token", ("embeddings.cls_token",)),
        NameMap("positions", ("embeddings.position_embeddings",)),
        *pair("patch_embedding", "embeddings.patch_embeddings.projection"),
        *pair("norm", "layernorm"),
    ]
    for layer in range(vision.layers):
        ours, hub = f"layers.{layer}", f"encoder.layer.{layer}"
        rows += [
            *pair(f"{ours}.attention_norm", f"{hub}.layernorm_before"),
            *pair(
                f"{ours}.attention.qkv",
                *(f"{hub}.attention.attention.{p}" for p in ("query", "key", "value")),
            ),
            *pair(f"{ours}.attention.out", f"{hub}.attention.output.dense"),
            *pair(f"{ours}.feed_forward_norm", f"{hub}.layernorm_after"),
            *pair(f"{ours}.feed_forward.up", f"{hub}.intermediate.dense"),
            *pair(f"{ours}.feed_forward.down", f"{hub}.output.dense"),
        ]
    return rows


def pair(ours: str, *hub: str) -> list[NameMap]:
    """The rows of a module's weight and bias."""
    return [NameMap(f"{ours}.{kind}", tuple(f"{name}.{kind}" for name in hub)) for kind in ("weight", "bias")]


def flat_patches(kernel: Tensor) -> Tensor:
    """The patch convolution's kernel `(width, 3, patch, patch)` as a matrix `(width, 3 * patch * patch)`."""
    return kernel.flatten(1)


def square_patches(state: Mapping[str, Tensor], vision: ViTSpec) -> dict[str, Tensor]:
    """The state dict with the patch matrix as a kernel: the inverse of `flat_patches`."""
    matrix = state["patch_embedding.weight"]
    return {**state, "patch_embedding.weight": matrix.unflatten(1, (3, vision.patch, vision.patch))}


def stack_from_config(config: Config, family: str, *, eps: float, patch: int, activation: str) -> JSON:
    """The keys of ViTSpec that ViT, CLIP and CLIP's heirs name alike in `config.json`, with the family's defaults."""
    config = filled(config, {**_STACK, "hidden_act": activation, "layer_norm_eps": eps})
    if config["num_channels"] != 3:
        raise CheckpointError(f"config.json: num_channels {config['num_channels']}; expected 3")
    return {
        "family": family,
        "kind": "vit",
        "patch": side(config.get("patch_size", patch), "patch_size"),
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "attention": {"heads": config["num_attention_heads"], "bias": True},
        "feed_forward": {
            "width": config["intermediate_size"],
            "activation": activation_from(config["hidden_act"]),
            "bias": True,
        },
        "norm": {"eps": config["layer_norm_eps"]},
    }


def stack_to_config(vision: ViTSpec) -> JSON:
    """The inverse of `stack_from_config`, with the picture's size."""
    return {
        "image_size": vision.pixels.size,
        "patch_size": vision.patch,
        "num_channels": 3,
        "hidden_size": vision.width,
        "num_hidden_layers": vision.layers,
        "num_attention_heads": vision.attention.heads,
        "intermediate_size": vision.feed_forward.width,
        "hidden_act": activation_to(vision.feed_forward.activation),
        "layer_norm_eps": vision.norm.eps,
    }


def side(value: int | Sequence[int], key: str) -> int:
    """One side of a square that is given as a number or as a pair, which the config may hold in any form."""
    sides = value if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2 or sides[0] != sides[1] or not isinstance(sides[0], int) or not 0 < sides[0] <= MAX_SIDE:
        raise CheckpointError(
            f"config.json: {key} {shown(value)}; expected a square of pixels, {MAX_SIDE} a side at most"
        )
    return int(sides[0])


def at_size(pixels: PixelSpec, size: int) -> PixelSpec:
    """Checks that the pictures arrive at the size that the positions were learned for."""
    if pixels.size != size:
        raise CheckpointError(
            f"preprocessor_config.json makes pictures of {pixels.size} pixels, but config.json says "
            f"image_size {size}: make the two agree"
        )
    return pixels


def vit_of(spec: ModelSpec) -> ViTSpec:
    """The spec's ViT. Raises CheckpointError when its vision encoder is another kind."""
    if not isinstance(spec.vision, ViTSpec):
        raise CheckpointError(f"'{spec.name}' holds no ViT: its vision is {getattr(spec.vision, 'kind', None)}")
    return spec.vision


def plain(spec: ModelSpec, **expected: bool) -> ViTSpec:
    """The spec's ViT, if the family's `config.json` can state it. Raises CheckpointError with the key."""
    vision = vit_of(spec)
    attention, ff = vision.attention, vision.feed_forward
    output_bias = attention.bias if attention.output_bias is None else attention.output_bias
    unusual = [key for key, value in {"class_token": True, **expected}.items() if getattr(vision, key) != value]
    if attention.head_width not in (None, vision.width // attention.heads) or not output_bias:
        unusual.append("attention.head_width, attention.output_bias")
    if attention.kv_heads not in (None, attention.heads) or attention.scale is not None:
        unusual.append("attention.kv_heads, attention.scale")
    if ff.gated or not ff.bias or vision.norm.kind != "layer":
        unusual.append("feed_forward, norm")
    if unusual:
        raise CheckpointError(
            f"'{spec.name}' cannot be written as '{spec.family}': {'; '.join(unusual)} of its vision "
            "encoder have no place in that format"
        )
    return vision
