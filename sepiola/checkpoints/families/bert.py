"""BERT in the Hub's layout: bare (`BertModel`, sentence encoders) or with its masked-language-model head.

What neither needs is left out on reading: the pooler, next-sentence prediction, and the numbers of the positions.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, activation_from, activation_to, filled, language_of, token_id
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.heads import head_of, one_head, vocabulary
from sepiola.checkpoints.lazy import LazyTensors, renamed
from sepiola.checkpoints.names import NameMap, prefixed, without
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec

HOLDS_VISION = False
processor_from_spec = no_processor

PREFIX, HEAD = "bert.", "cls.predictions"
_MATRIX, _EMBEDDING = f"{HEAD}.decoder.weight", f"{PREFIX}embeddings.word_embeddings.weight"
_LEFTOVERS = r"(bert\.)?pooler\..+|cls\.seq_relationship\..+"
_DEFAULTS: JSON = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.1,
    "tie_word_embeddings": True,
}


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint; `state` tells whether there is a head. Raises CheckpointError for a decoder."""
    if config.get("is_decoder") or config.get("position_embedding_type", "absolute") != "absolute":
        raise CheckpointError("config.json: BERT as a decoder, or with relative positions, is not supported")
    config, state = filled(config, _DEFAULTS), _named(state)
    headed = f"{HEAD}.bias" in state
    language = {
        "family": "bert",
        "kind": "encoder",
        "vocabulary": vocabulary(config, state, _EMBEDDING),
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "attention": {"heads": config["num_attention_heads"], "bias": True},
        "feed_forward": {
            "width": config["intermediate_size"],
            "activation": activation_from(config["hidden_act"]),
            "bias": True,
        },
        "norm": {"place": "post", "eps": config["layer_norm_eps"]},
        "positions": {"kind": "learned", "length": config["max_position_embeddings"]},
        "embedding_norm": True,
        "token_types": config["type_vocab_size"],
        "tied": not headed or head_of(config, state, _EMBEDDING, head=_MATRIX)["tied"],
        "head": {"transform": True, "bias": True} if headed else {"kind": "none"},
        "dropout": config["hidden_dropout_prob"],
        "tokens": {"pad": token_id(config, "pad", 0)},
    }
    return ModelSpec.parse({"name": "bert", "family": "bert", "language": language}, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    language = language_of(spec)
    return {
        "architectures": ["BertModel" if language.head.kind == "none" else "BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": language.vocabulary,
        "hidden_size": language.width,
        "num_hidden_layers": language.layers,
        "num_attention_heads": language.attention.heads,
        "intermediate_size": language.feed_forward.width,
        "hidden_act": activation_to(language.feed_forward.activation),
        "layer_norm_eps": language.norm.eps,
        "max_position_embeddings": language.positions.length,
        "type_vocab_size": language.token_types,
        "hidden_dropout_prob": language.dropout,
        "attention_probs_dropout_prob": language.dropout,
        "tie_word_embeddings": language.tied,
        "pad_token_id": language.tokens.pad,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one, whose names may lack `bert.`."""
    return rows_to_ours(one_head(_named(state), _EMBEDDING, tied=language_of(spec).tied, head=_MATRIX), _table(spec))


def _named(state: Mapping[str, Tensor]) -> LazyTensors:
    """The tensors under the names of a whole model; of two biases of the logits, the matrix's own counts."""
    kept = prefixed(without(state, _LEFTOVERS), PREFIX, "cls.")
    own, repeated = f"{HEAD}.decoder.bias", f"{HEAD}.bias"
    if own not in kept:
        return kept
    return renamed(kept, lambda name: {own: repeated, repeated: None}.get(name, name))


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours; bare models have no prefix."""
    result = rows_to_hub(state, _table(spec))
    if not language_of(spec).tied:
        result[f"{HEAD}.decoder.bias"] = result[f"{HEAD}.bias"].clone()
    if language_of(spec).head.kind == "none":
        return {name.removeprefix(PREFIX): value for name, value in result.items()}
    return result


def _table(spec: ModelSpec) -> list[NameMap]:
    rows = [NameMap("decoder.positions.embedding.weight", (f"{PREFIX}embeddings.position_embeddings.weight",))]
    rows += [
        NameMap("embedding.weight", (_EMBEDDING,)),
        NameMap("head.projection.weight", (_MATRIX,)),
        NameMap("embedding.types.weight", (f"{PREFIX}embeddings.token_type_embeddings.weight",)),
        NameMap("head.bias", (f"{HEAD}.bias",)),
    ]
    for kind in ("weight", "bias"):
        rows += [
            NameMap(f"decoder.embedding_norm.{kind}", (f"{PREFIX}embeddings.LayerNorm.{kind}",)),
            NameMap(f"head.transform.dense.{kind}", (f"{HEAD}.transform.dense.{kind}",)),
            NameMap(f"head.transform.norm.{kind}", (f"{HEAD}.transform.LayerNorm.{kind}",)),
        ]
        for layer in range(language_of(spec).layers):
            ours, hub = f"decoder.layers.{layer}", f"{PREFIX}encoder.layer.{layer}"
            qkv = tuple(f"{hub}.attention.self.{part}.{kind}" for part in ("query", "key", "value"))
            rows += [
                NameMap(f"{ours}.attention.qkv.{kind}", qkv),
                NameMap(f"{ours}.attention.out.{kind}", (f"{hub}.attention.output.dense.{kind}",)),
                NameMap(f"{ours}.attention_norm.{kind}", (f"{hub}.attention.output.LayerNorm.{kind}",)),
                NameMap(f"{ours}.feed_forward.up.{kind}", (f"{hub}.intermediate.dense.{kind}",)),
                NameMap(f"{ours}.feed_forward.down.{kind}", (f"{hub}.output.dense.{kind}",)),
                NameMap(f"{ours}.feed_forward_norm.{kind}", (f"{hub}.output.LayerNorm.{kind}",)),
            ]
    return rows
