"""OPT in the Hub's layout. The 350M checkpoint, whose embeddings are narrower than its layers, is not supported."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, activation_from, activation_to, filled, language_of, token_id
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.heads import HEAD, head_of, one_head, vocabulary
from sepiola.checkpoints.lazy import LazyTensors
from sepiola.checkpoints.names import NameMap, prefixed, without
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec

HOLDS_VISION = False
processor_from_spec = no_processor

_LEFTOVERS = r"(model\.)?decoder\.version"
_EMBEDDING = "model.decoder.embed_tokens.weight"
_TOKENS = (("pad", "pad", 1), ("end", "eos", 2), ("start", "bos", 2))
_DEFAULTS: JSON = {
    "vocab_size": 50272,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "ffn_dim": 3072,
    "max_position_embeddings": 2048,
    "do_layer_norm_before": True,
    "word_embed_proj_dim": int,
    "dropout": 0.1,
    "num_attention_heads": 12,
    "activation_function": "relu",
    "enable_bias": True,
    "tie_word_embeddings": True,
}


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint. Raises CheckpointError for embeddings of another width than the layers',
    and for norms without weights or none at the end.
    """
    config, state = filled(config, _DEFAULTS), _named(state)
    width = config["hidden_size"]
    if config["word_embed_proj_dim"] not in (None, width) or not config["do_layer_norm_before"]:
        raise CheckpointError("config.json: OPT with projected embeddings or norms after (opt-350m) is not supported")
    for key, only in (("layer_norm_elementwise_affine", True), ("_remove_final_layer_norm", False)):
        if config.get(key, only) is not only:
            raise CheckpointError(f"config.json: {key} is {config[key]}; {only} alone is supported")
    language = {
        "family": "opt",
        "kind": "decoder",
        "vocabulary": vocabulary(config, state, _EMBEDDING),
        "width": width,
        "layers": config["num_hidden_layers"],
        "attention": {"heads": config["num_attention_heads"], "bias": config["enable_bias"]},
        "feed_forward": {
            "width": config["ffn_dim"],
            "activation": activation_from(config["activation_function"]),
            "bias": config["enable_bias"],
        },
        "positions": {"kind": "learned", "length": config["max_position_embeddings"], "offset": 2},
        **head_of(config, state, _EMBEDDING),
        "dropout": config["dropout"],
        "tokens": {name: token_id(config, hub, default) for name, hub, default in _TOKENS},
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
    return rows_to_ours(one_head(_named(state), _EMBEDDING, tied=language_of(spec).tied), _table(spec))


def _named(state: Mapping[str, Tensor]) -> LazyTensors:
    """The tensors under the names of a whole model: the oldest files have `decoder.…`."""
    return prefixed(without(state, _LEFTOVERS), "model.", "lm_head.")


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    return rows_to_hub(state, _table(spec))


def _table(spec: ModelSpec) -> list[NameMap]:
    rows = [
        NameMap("embedding.weight", (_EMBEDDING,)),
        NameMap("decoder.positions.embedding.weight", ("model.decoder.embed_positions.weight",)),
        NameMap("head.projection.weight", (HEAD,)),
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
