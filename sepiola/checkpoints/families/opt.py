"""OPT in the Hub's layout. The 350M checkpoint, whose embeddings are narrower than its layers, is not supported."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, activation_from, activation_to, language_of
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.lazy import LazyTensors, renamed
from sepiola.checkpoints.names import NameMap
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec

HOLDS_VISION = False
processor_from_spec = no_processor


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint. Raises CheckpointError for embeddings of another width than the layers'."""
    width = config["hidden_size"]
    if config.get("word_embed_proj_dim", width) != width or not config.get("do_layer_norm_before", True):
        raise CheckpointError("config.json: OPT with projected embeddings or norms after (opt-350m) is not supported")
    language = {
        "family": "opt",
        "kind": "decoder",
        "vocabulary": config["vocab_size"],
        "width": width,
        "layers": config["num_hidden_layers"],
        "attention": {"heads": config["num_attention_heads"], "bias": config.get("enable_bias", True)},
        "feed_forward": {
            "width": config["ffn_dim"],
            "activation": activation_from(config.get("activation_function", "relu")),
            "bias": config.get("enable_bias", True),
        },
        "positions": {"kind": "learned", "length": config["max_position_embeddings"], "offset": 2},
        "tied": config.get("tie_word_embeddings", True),
        "dropout": config.get("dropout", 0.1),
        "tokens": {
            "pad": config.get("pad_token_id", 1),
            "end": config.get("eos_token_id", 2),
            "start": config.get("bos_token_id", 2),
        },
    }
    return ModelSpec.parse({"name": "opt", "family": "opt", "language": language}, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    language = language_of(spec)
    return {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "vocab_size": language.vocabulary,
        "hidden_size": language.width,
        "word_embed_proj_dim": language.width,
        "num_hidden_layers": language.layers,
        "num_attention_heads": language.attention.heads,
        "ffn_dim": language.feed_forward.width,
        "activation_function": activation_to(language.feed_forward.activation),
        "enable_bias": language.attention.bias,
        "max_position_embeddings": language.positions.length,
        "do_layer_norm_before": True,
        "dropout": language.dropout,
        "tie_word_embeddings": language.tied,
        "pad_token_id": language.tokens.pad,
        "eos_token_id": language.tokens.end,
        "bos_token_id": language.tokens.start,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one."""
    tied = language_of(spec).tied
    return rows_to_ours(renamed(state, lambda name: _whole(name, tied)), _table(spec))


def _whole(name: str, tied: bool) -> str | None:
    """`decoder.…`, as the oldest files say, is `model.decoder.…`; a tied head is the embedding again."""
    if tied and name == "lm_head.weight":
        return None
    return f"model.{name}" if name.startswith("decoder.") else name


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    return rows_to_hub(state, _table(spec))


def _table(spec: ModelSpec) -> list[NameMap]:
    rows = [
        NameMap("embedding.weight", ("model.decoder.embed_tokens.weight",)),
        NameMap("decoder.positions.embedding.weight", ("model.decoder.embed_positions.weight",)),
        NameMap("head.projection.weight", ("lm_head.weight",)),
    ]
    for kind in ("weight", "bias"):
        rows.append(NameMap(f"decoder.norm.{kind}", (f"model.decoder.final_layer_norm.{kind}",)))
        for layer in range(language_of(spec).layers):
            ours, hub = f"decoder.layers.{layer}", f"model.decoder.layers.{layer}"
            qkv = tuple(f"{hub}.self_attn.{part}_proj.{kind}" for part in "qkv")
            rows += [
                NameMap(f"{ours}.attention.qkv.{kind}", qkv),
                NameMap(f"{ours}.attention.out.{kind}", (f"{hub}.self_attn.out_proj.{kind}",)),
                NameMap(f"{ours}.attention_norm.{kind}", (f"{hub}.self_attn_layer_norm.{kind}",)),
                NameMap(f"{ours}.feed_forward_norm.{kind}", (f"{hub}.final_layer_norm.{kind}",)),
                NameMap(f"{ours}.feed_forward.up.{kind}", (f"{hub}.fc1.{kind}",)),
                NameMap(f"{ours}.feed_forward.down.{kind}", (f"{hub}.fc2.{kind}",)),
            ]
    return rows
