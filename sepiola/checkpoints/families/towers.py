"""What CLIP and its heirs name alike at the Hub: the layers of a tower, the text tower, and two towers as one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, activation_from, activation_to, filled, language_of, token_id
from sepiola.checkpoints.families.vit import pair
from sepiola.checkpoints.lazy import LazyTensors, later, renamed, with_changes
from sepiola.checkpoints.names import NameMap
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.errors import CheckpointError
from sepiola.specs.bridge import DualSpec
from sepiola.specs.model import ModelSpec, TransformerSpec

VISION = "vision_model."
_TEXT = "text_model."
_WRONG_END = 2  # configs from before transformers 4.31 have this as CLIP's end, which is the last of the vocabulary


def layers(ours: str, hub: str, count: int) -> list[NameMap]:
    """The rows of a tower's layers, whose names begin with `ours` and `hub`."""
    rows: list[NameMap] = []
    for layer in range(count):
        mine, theirs = f"{ours}layers.{layer}", f"{hub}encoder.layers.{layer}"
        rows += [
            *pair(f"{mine}.attention_norm", f"{theirs}.layer_norm1"),
            *pair(f"{mine}.attention.qkv", *(f"{theirs}.self_attn.{p}_proj" for p in "qkv")),
            *pair(f"{mine}.attention.out", f"{theirs}.self_attn.out_proj"),
            *pair(f"{mine}.feed_forward_norm", f"{theirs}.layer_norm2"),
            *pair(f"{mine}.feed_forward.up", f"{theirs}.mlp.fc1"),
            *pair(f"{mine}.feed_forward.down", f"{theirs}.mlp.fc2"),
        ]
    return rows


def text_from_config(config: Config, defaults: Config, kind: str) -> JSON:
    """The language model of a `text_config`, as TransformerSpec's keys; `kind` is `decoder` where it is causal."""
    place = "config.json: text_config"
    config = filled(
        {**defaults, **config}, {key: value for key, value in defaults.items() if "token_id" not in key}, place
    )
    vocabulary = config["vocab_size"]
    pad, start, end = (token_id(config, name, -1, place) for name in ("pad", "bos", "eos"))
    pad = max(pad, 0)
    if kind == "decoder" and end == _WRONG_END:
        start, end = vocabulary - 2, vocabulary - 1
    if not 0 <= end < vocabulary:  # SigLIP's configs leave this to a default that is CLIP's
        end = pad
    return {
        "kind": kind,
        "vocabulary": vocabulary,
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "attention": {"heads": config["num_attention_heads"], "bias": True},
        "feed_forward": {
            "width": config["intermediate_size"],
            "activation": activation_from(config["hidden_act"]),
            "bias": True,
        },
        "norm": {"eps": config["layer_norm_eps"]},
        "positions": {"kind": "learned", "length": config["max_position_embeddings"]},
        "head": {"kind": "none"},
        "tokens": {"pad": pad, "end": end, "start": start if 0 <= start < vocabulary else pad},
    }


def text_to_config(language: TransformerSpec, kind: str) -> JSON:
    """The inverse of `text_from_config`. Raises CheckpointError for a text tower that has no place there."""
    attention, ff, norm = language.attention, language.feed_forward, language.norm
    plain = attention.bias and attention.output_bias is not False and not ff.gated and ff.bias and norm.bias
    grouped = attention.kv_heads not in (None, attention.heads) or attention.head_width is not None
    learned = language.positions.kind == "learned" and not language.positions.offset and not language.embedding_norm
    if not plain or grouped or norm.kind != "layer" or norm.place != "pre" or not learned or language.kind != kind:
        raise CheckpointError(
            f"the text tower cannot be written in this layout, which holds: kind '{kind}', learned positions, and "
            "pre-norm layers with LayerNorm, biases and a plain feed-forward"
        )
    return {
        "vocab_size": language.vocabulary,
        "hidden_size": language.width,
        "num_hidden_layers": language.layers,
        "num_attention_heads": language.attention.heads,
        "intermediate_size": language.feed_forward.width,
        "hidden_act": activation_to(language.feed_forward.activation),
        "layer_norm_eps": language.norm.eps,
        "max_position_embeddings": language.positions.length,
        "pad_token_id": language.tokens.pad,
        "bos_token_id": language.tokens.start,
        "eos_token_id": language.tokens.end,
    }


def dual_of(spec: ModelSpec, **expected: str | bool) -> DualSpec:
    """The bridge of both towers, if it is as the layout expects. Raises CheckpointError with the keys that are not."""
    bridge = spec.bridge
    unusual = [f"bridge.{key}" for key, value in expected.items() if getattr(bridge, key, None) != value]
    if not isinstance(bridge, DualSpec) or unusual:
        raise CheckpointError(
            f"'{spec.name}' cannot be written as '{spec.family}', which has no place for {', '.join(unusual) or 'it'}"
        )
    return bridge


def to_ours(
    state: Mapping[str, Tensor],
    spec: ModelSpec,
    bridge: Sequence[NameMap],
    read_image: Callable[[Mapping[str, Tensor], ModelSpec], LazyTensors],
) -> LazyTensors:
    """Our state dict of both towers: the image tower's read by `read_image`, the bridge's by its rows."""
    shared = {name for row in bridge for name in row.hub}
    image = renamed(state, lambda name: name if name.startswith(VISION) and name not in shared else None)
    rest = renamed(state, lambda name: None if name in image or name.endswith("position_ids") else name)
    both = rows_to_ours(rest, [*_text(spec), *bridge])
    vision = renamed(read_image(image, spec), lambda name: f"vision.{name}")
    return LazyTensors({**later(with_changes(both, {"bridge.scale": lambda scale: scale.reshape(1)})), **later(vision)})


def to_hub(
    state: Mapping[str, Tensor],
    spec: ModelSpec,
    bridge: Sequence[NameMap],
    write_image: Callable[[Mapping[str, Tensor], ModelSpec], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """The Hub's state dict of both towers, the inverse of `to_ours`."""
    vision = {n.removeprefix("vision."): value for n, value in state.items() if n.startswith("vision.")}
    rest = {name: value for name, value in state.items() if not name.startswith("vision.")}
    return {**write_image(vision, spec), **rows_to_hub(rest, [*_text(spec), *bridge])}


def _text(spec: ModelSpec) -> list[NameMap]:
    return [
        NameMap("language.embedding.weight", (f"{_TEXT}embeddings.token_embedding.weight",)),
        NameMap("language.decoder.positions.embedding.weight", (f"{_TEXT}embeddings.position_embedding.weight",)),
        *pair("language.decoder.norm", f"{_TEXT}final_layer_norm"),
        *layers("language.decoder.", _TEXT, language_of(spec).layers),
    ]
