"""BART in the Hub's layout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sepiola.checkpoints.config import (
    JSON,
    Config,
    activation_from,
    activation_to,
    filled,
    language_of,
    spelled,
    token_id,
    where_other,
)
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.heads import HEAD, Embeddings, embeddings_of, head_of, one_each, one_head, vocabulary
from sepiola.checkpoints.lazy import LazyTensors, later, with_changes
from sepiola.checkpoints.names import NameMap, prefixed, without
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.specs.model import ModelSpec

HOLDS_VISION = False
processor_from_spec = no_processor

BIAS = "final_logits_bias"
_LEFTOVERS = r"(model\.)?(encoder|decoder)\.version"
# The embedding, by the names that files have for it.
_EMBEDDING = ("model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
_DEFAULTS: JSON = {
    "vocab_size": 50265,
    "d_model": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "max_position_embeddings": 1024,
    "activation_function": "gelu",
    "scale_embedding": False,
    "dropout": 0.1,
    "tie_word_embeddings": True,
}


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint. Raises CheckpointError for a head that the config promises and the file lacks."""
    config, state = filled(spelled(config, hidden_size="d_model"), _DEFAULTS), _named(state)
    embeddings = _embeddings(state)
    head = head_of(config, state, embeddings.encoder)
    language = {
        "family": "bart",
        "kind": "encoder-decoder",
        "vocabulary": vocabulary(config, state, embeddings.encoder),
        "decoder_embedding": embeddings.decoder is not None,
        "width": config["d_model"],
        "layers": config["decoder_layers"],
        "encoder_layers": config["encoder_layers"],
        "encoder_heads": where_other(config["encoder_attention_heads"], config["decoder_attention_heads"]),
        "encoder_feed_forward": where_other(config["encoder_ffn_dim"], config["decoder_ffn_dim"]),
        "attention": {"heads": config["decoder_attention_heads"], "bias": True},
        "feed_forward": {
            "width": config["decoder_ffn_dim"],
            "activation": activation_from(config["activation_function"]),
            "bias": True,
        },
        "norm": {"place": "post"},
        "positions": {"kind": "learned", "length": config["max_position_embeddings"], "offset": 2},
        "embedding_norm": True,
        "embedding_scale": config["d_model"] ** 0.5 if config["scale_embedding"] else None,
        **head,
        "tied": head["tied"] and embeddings.head is None,
        "head": {"bias": True, **head.get("head", {})},
        "dropout": config["dropout"],
        "tokens": {
            "pad": token_id(config, "pad", 1),
            "end": token_id(config, "eos", 2),
            "start": token_id(config, "decoder_start", 2),
        },
    }
    return ModelSpec.parse({"name": "bart", "family": "bart", "language": language}, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    language = language_of(spec)
    stacks: dict[str, int] = {}
    for name, stack in (("encoder", language.encoder), ("decoder", language)):
        stacks |= {
            f"{name}_layers": stack.layers,
            f"{name}_attention_heads": stack.attention.heads,
            f"{name}_ffn_dim": stack.feed_forward.width,
        }
    return {
        "architectures": ["BartForConditionalGeneration"],
        "model_type": "bart",
        "vocab_size": language.vocabulary,
        "d_model": language.width,
        **stacks,
        "activation_function": activation_to(language.feed_forward.activation),
        "max_position_embeddings": language.positions.length,
        "scale_embedding": language.embedding_scale is not None,
        "dropout": language.dropout,
        "is_encoder_decoder": True,
        "tie_word_embeddings": language.tied,
        "pad_token_id": language.tokens.pad,
        "eos_token_id": language.tokens.end,
        "decoder_start_token_id": language.tokens.start,
        "forced_eos_token_id": language.tokens.end,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one; a checkpoint without a bias of the logits has none to add."""
    language = language_of(spec)
    named = _named(state)
    one = one_head(one_each(named, _EMBEDDING, _embeddings(named)), _EMBEDDING[0], tied=language.tied)
    named = rows_to_ours(one, _table(spec))
    if "head.bias" in named:
        return with_changes(named, {"head.bias": Tensor.flatten})
    table = "embedding.weight"
    kind = (lambda: named[table].dtype) if table in named else torch.get_default_dtype
    return LazyTensors({**later(named), "head.bias": [lambda: torch.zeros(language.vocabulary, dtype=kind())]})


def _embeddings(state: Mapping[str, Tensor]) -> Embeddings:
    return embeddings_of(state, *_EMBEDDING, first=_EMBEDDING[-1])


def _named(state: Mapping[str, Tensor]) -> LazyTensors:
    """The tensors under the names of a whole model; bare models lack `model.`."""
    return prefixed(without(state, _LEFTOVERS), "model.", "lm_head.", BIAS)


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    result = rows_to_hub(state, _table(spec))
    if not language_of(spec).tied:  # then nothing is, there
        for name in _EMBEDDING[1:]:
            result.setdefault(name, result[_EMBEDDING[0]].clone())
    return {**result, BIAS: result[BIAS][None]}


def _table(spec: ModelSpec) -> list[NameMap]:
    language = language_of(spec)
    rows = [
        NameMap("embedding.weight", _EMBEDDING[:1]),
        NameMap("decoder_embedding.weight", _EMBEDDING[-1:]),
        NameMap("head.projection.weight", (HEAD,)),
        NameMap("head.bias", (BIAS,)),
    ]
    for stack, layers in (("encoder", language.encoder.layers), ("decoder", language.layers)):
        rows.append(NameMap(f"{stack}.positions.embedding.weight", (f"model.{stack}.embed_positions.weight",)))
        for kind in ("weight", "bias"):
            rows.append(NameMap(f"{stack}.embedding_norm.{kind}", (f"model.{stack}.layernorm_embedding.{kind}",)))
            for layer in range(layers):
                rows += _layer(f"{stack}.layers.{layer}", f"model.{stack}.layers.{layer}", kind)
    return rows


def _layer(ours: str, hub: str, kind: str) -> list[NameMap]:
    """One layer's weights or biases; an encoder's layer has no cross-attention, and those rows find nothing."""
    return [
        NameMap(f"{ours}.attention.qkv.{kind}", tuple(f"{hub}.self_attn.{part}_proj.{kind}" for part in "qkv")),
        NameMap(f"{ours}.attention.out.{kind}", (f"{hub}.self_attn.out_proj.{kind}",)),
        NameMap(f"{ours}.attention_norm.{kind}", (f"{hub}.self_attn_layer_norm.{kind}",)),
        NameMap(f"{ours}.cross.q.{kind}", (f"{hub}.encoder_attn.q_proj.{kind}",)),
        NameMap(f"{ours}.cross.kv.{kind}", tuple(f"{hub}.encoder_attn.{part}_proj.{kind}" for part in "kv")),
        NameMap(f"{ours}.cross.out.{kind}", (f"{hub}.encoder_attn.out_proj.{kind}",)),
        NameMap(f"{ours}.cross_norm.{kind}", (f"{hub}.encoder_attn_layer_norm.{kind}",)),
        NameMap(f"{ours}.feed_forward.up.{kind}", (f"{hub}.fc1.{kind}",)),
        NameMap(f"{ours}.feed_forward.down.{kind}", (f"{hub}.fc2.{kind}",)),
        NameMap(f"{ours}.feed_forward_norm.{kind}", (f"{hub}.final_layer_norm.{kind}",)),
    ]
