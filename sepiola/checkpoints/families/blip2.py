"""BLIP-2 and InstructBLIP in the Hub's layouts (Salesforce/blip2-*, Salesforce/instructblip-*).

Three layouts share the names of vision encoder and Q-Former: `Blip2ForConditionalGeneration`, whose Q-Former knows no
text; `InstructBlipForConditionalGeneration`, whose queries read the instruction; and `Blip2ForImageTextRetrieval`, the
first stage without language model. None holds the temperature, which training alone reads: on reading it is what
training begins with.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sepiola.checkpoints import parts
from sepiola.checkpoints.config import JSON, Config, activation_from, activation_to, filled, part_of
from sepiola.checkpoints.families.vit import pair
from sepiola.checkpoints.lazy import LazyTensors, later
from sepiola.checkpoints.names import NameMap
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.errors import CheckpointError
from sepiola.models.bridges.query_heads import TEMPERATURE
from sepiola.specs.bridge import QFormerSpec
from sepiola.specs.model import ModelSpec

HOLDS_VISION = True

_VISION = "blip_2_vision_model"
_TEMPERATURE = "heads.temperature"
_DEFAULTS: JSON = {
    "num_query_tokens": 32,
    "image_text_hidden_size": 256,
    "image_token_index": int,
    "image_token_id": int,
    "tie_word_embeddings": bool,
}
_QFORMER: JSON = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "cross_attention_frequency": 2,
}


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint; `state` tells whether it is the first stage's."""
    family = config["model_type"]
    config = filled(config, _DEFAULTS)
    qformer = filled(part_of(config, "qformer_config") or {}, _QFORMER, "config.json: qformer_config")
    image = {"model_type": _VISION, **(part_of(config, "vision_config") or {})}
    retrieves = "itm_head.weight" in state
    reads = retrieves or family == "instructblip"
    bridge = {
        "kind": "q-former",
        "token": None if retrieves else _image_token(config),
        "queries": config["num_query_tokens"],
        "width": qformer["hidden_size"],
        "layers": qformer["num_hidden_layers"],
        "attention": {"heads": qformer["num_attention_heads"], "bias": True},
        "feed_forward": {
            "width": qformer["intermediate_size"],
            "activation": activation_from(qformer["hidden_act"]),
            "bias": True,
        },
        "norm": {"place": "post", "eps": qformer["layer_norm_eps"]},
        "cross_every": qformer["cross_attention_frequency"],
        "dropout": qformer["hidden_dropout_prob"],
        "text": _text(qformer) if reads else None,
        "instructed": family == "instructblip",
        "heads": {"space": config["image_text_hidden_size"], "writes": False} if retrieves else None,
    }
    raw = {
        "name": family,
        "family": family,
        "vision": parts.vision_spec(image, preprocessor),
        "bridge": bridge,
        "language": None if retrieves else parts.text_spec(config, state, _part_of, silent="opt"),
    }
    return ModelSpec.parse(raw, "config.json")


def _text(qformer: Config) -> JSON:
    return {
        "vocabulary": qformer["vocab_size"],
        "length": qformer["max_position_embeddings"],
        "pad": qformer["pad_token_id"],
    }


def _image_token(config: Config) -> int | None:
    token: int | None = config["image_token_id"] if config["image_token_index"] is None else config["image_token_index"]
    return token


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads. Raises CheckpointError for what the layouts have no place for."""
    bridge = _qformer(spec)
    vision, language = spec.vision, spec.language
    if vision is None or (language is None and bridge.heads is None):
        raise CheckpointError(
            f"'{spec.name}': BLIP-2's layout holds a vision encoder, a Q-Former, and a language model or heads"
        )
    qformer = {
        "model_type": "instructblip_qformer" if bridge.instructed else "blip_2_qformer",
        "hidden_size": bridge.width,
        "num_hidden_layers": bridge.layers,
        "num_attention_heads": bridge.attention.heads,
        "intermediate_size": bridge.feed_forward.width,
        "hidden_act": activation_to(bridge.feed_forward.activation),
        "layer_norm_eps": bridge.norm.eps,
        "cross_attention_frequency": bridge.cross_every,
        "encoder_hidden_size": getattr(vision, "width", None),
        "hidden_dropout_prob": bridge.dropout,
        "attention_probs_dropout_prob": bridge.dropout,
    }
    if bridge.text is not None:
        qformer |= {"vocab_size": bridge.text.vocabulary, "max_position_embeddings": bridge.text.length}
        qformer |= {"pad_token_id": bridge.text.pad}
    kind = "instructblip_vision_model" if bridge.instructed else _VISION
    config = {
        "model_type": "instructblip" if bridge.instructed else "blip-2",
        "num_query_tokens": bridge.queries,
        "image_token_index": bridge.token,
        "qformer_config": qformer,
        "vision_config": {**parts.vision_config(vision), "model_type": kind},
    }
    if language is None:
        assert bridge.heads is not None
        qformer["use_qformer_text_input"] = True
        return {
            **config,
            "architectures": ["Blip2ForImageTextRetrieval"],
            "image_text_hidden_size": bridge.heads.space,
        }
    architecture = "InstructBlipForConditionalGeneration" if bridge.instructed else "Blip2ForConditionalGeneration"
    return {
        **config,
        "architectures": [architecture],
        "text_config": parts.text_config(language),
        "tie_word_embeddings": language.tied,
    }


def processor_from_spec(spec: ModelSpec) -> JSON | None:
    """The `processor_config.json` of `transformers`: without the number of queries it sets no placeholders."""
    bridge = _qformer(spec)
    if spec.language is None:
        return None
    kind = "InstructBlipProcessor" if bridge.instructed else "Blip2Processor"
    return {"processor_class": kind, "num_query_tokens": bridge.queries}


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one."""
    ours = later(parts.to_ours(rows_to_ours(state, _table(spec)), spec, _part_of))
    if _qformer(spec).heads is not None:
        ours[f"bridge.{_TEMPERATURE}"] = [lambda: torch.tensor(TEMPERATURE)]
    return LazyTensors(ours)


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    stored = parts.to_hub(state, spec)
    bridge = rows_to_hub({f"bridge.{name}": value for name, value in stored["bridge"].items()}, _table(spec))
    return {
        **{f"language_model.{name}": value for name, value in stored["language"].items()},
        **{f"vision_model.{name}": value for name, value in stored["vision"].items()},
        **{name: value for name, value in bridge.items() if not name.startswith("bridge.")},
    }


def _qformer(spec: ModelSpec) -> QFormerSpec:
    if not isinstance(spec.bridge, QFormerSpec):
        raise CheckpointError(f"'{spec.name}': BLIP-2's layout holds a Q-Former")
    return spec.bridge


def _part_of(name: str) -> tuple[str, str]:
    for part, hub in (("language", "language_model."), ("vision", "vision_model."), ("bridge", "bridge.")):
        if name.startswith(hub):
            return part, name.removeprefix(hub)
    return "bridge", name


def _table(spec: ModelSpec) -> list[NameMap]:
    """The rows of the Q-Former, of what this layout has a place for."""
    bridge = _qformer(spec)
    retrieves, instructed = spec.language is None, bridge.instructed
    embeddings = "qformer.embeddings" if instructed else "embeddings"
    rows = [
        NameMap("bridge.queries", ("query_tokens",)),
        *pair("bridge.norm", "qformer.embeddings.layernorm" if instructed else "qformer.layernorm"),
        *pair("bridge.projection", "language_projection"),
    ]
    if retrieves or instructed:
        rows += [
            NameMap("bridge.text.tokens.weight", (f"{embeddings}.word_embeddings.weight",)),
            NameMap("bridge.text.positions.weight", (f"{embeddings}.position_embeddings.weight",)),
        ]
    if retrieves:
        rows += [*pair("bridge.heads.image", "vision_projection"), *pair("bridge.heads.text", "text_projection")]
        rows += pair("bridge.heads.match", "itm_head")
    for layer in range(bridge.layers):
        ours, hub = f"bridge.layers.{layer}", f"qformer.encoder.layer.{layer}"
        within, across = f"{hub}.attention", f"{hub}.crossattention"
        rows += [
            *pair(f"{ours}.attention.qkv", *(f"{within}.attention.{part}" for part in ("query", "key", "value"))),
            *pair(f"{ours}.attention.out", f"{within}.output.dense"),
            *pair(f"{ours}.attention_norm", f"{within}.output.LayerNorm"),
            *pair(f"{ours}.cross.q", f"{across}.attention.query"),
            *pair(f"{ours}.cross.kv", f"{across}.attention.key", f"{across}.attention.value"),
            *pair(f"{ours}.cross.out", f"{across}.output.dense"),
            *pair(f"{ours}.cross_norm", f"{across}.output.LayerNorm"),
        ]
        for ff, suffix in [("query_feed_forward", "_query"), *([("feed_forward", "")] * (retrieves or instructed))]:
            rows += [
                *pair(f"{ours}.{ff}.up", f"{hub}.intermediate{suffix}.dense"),
                *pair(f"{ours}.{ff}.down", f"{hub}.output{suffix}.dense"),
                *pair(f"{ours}.{ff}_norm", f"{hub}.output{suffix}.LayerNorm"),
            ]
    return rows
