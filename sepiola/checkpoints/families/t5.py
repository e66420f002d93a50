"""T5, T5 v1.1, mT5, FLAN-T5 and UnifiedQA in the Hub's layout, and the reference Multimodal-CoT layout on top of it.

The reference (amazon-science/mm-cot) stores one state dict: T5's names, and its fusion as `image_dense`, `mha_layer`
(a `torch.nn.MultiheadAttention` of one head) and `gate_dense`. Whether the output head is tied follows what the
checkpoint holds: a separate `lm_head` is honoured, whatever the config says.
"""

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
)
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.heads import HEAD, embeddings_of, head_of, one_each, one_head, vocabulary
from sepiola.checkpoints.lazy import LazyTensors, changed, later
from sepiola.checkpoints.names import NameMap, without
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec, TransformerSpec

HOLDS_VISION = False
processor_from_spec = no_processor

_LEFTOVERS = r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight"
# The embedding, by the names that files have for it.
_EMBEDDING = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_ALIASES = {"hidden_size": "d_model", "num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"}
_ALIASES |= {"head_dim": "d_kv"}
_DEFAULTS: JSON = {
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_decoder_layers": int,
    "num_heads": 8,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "relu",
    "dense_act_fn": str,
    "is_gated_act": bool,
    "tie_word_embeddings": True,
    "scale_decoder_outputs": bool,
}
# What an mT5's config is taken to say where it is silent; its outputs are never scaled.
_MT5: JSON = {"vocab_size": 250112, "d_ff": 1024, "num_layers": 8, "num_heads": 6, "feed_forward_proj": "gated-gelu"}


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint; `state` tells whether the head is separate and whether there is a fusion."""
    spelt = spelled(config, **_ALIASES)
    if spelt.get("model_type") == "mt5":
        spelt = {**_MT5, **spelt, "scale_decoder_outputs": False}
    config, state = filled(spelt, _DEFAULTS), without(state, _LEFTOVERS)
    embeddings = embeddings_of(state, *_EMBEDDING, first=_EMBEDDING[1])
    embedding = embeddings.encoder
    projection = config["feed_forward_proj"]
    gated = config["is_gated_act"]
    if gated is None:
        gated = projection.startswith("gated-")
    activation = config["dense_act_fn"]
    if activation is None:
        activation = {"gated-gelu": "gelu_new"}.get(projection, projection.removeprefix("gated-"))
    width = config["d_model"]
    scaled = config["scale_decoder_outputs"]
    if scaled is None:
        scaled = config["tie_word_embeddings"]
    # The key says whether the outputs are scaled; the head is tied wherever the file holds none of its own.
    tied = embeddings.head is None
    if HEAD in state:
        tied = head_of({**config, "tie_word_embeddings": True}, state, embedding)["tied"]
    family = "flan-t5" if gated else "t5"
    language = {
        "family": family,
        "kind": "encoder-decoder",
        "vocabulary": vocabulary(config, state, embedding),
        "decoder_embedding": embeddings.decoder is not None,
        "width": width,
        "layers": config["num_decoder_layers"] or config["num_layers"],
        "encoder_layers": config["num_layers"],
        "attention": {"heads": config["num_heads"], "head_width": config["d_kv"], "scale": 1.0},
        "feed_forward": {"width": config["d_ff"], "activation": activation_from(activation), "gated": gated},
        "norm": {"kind": "rms", "eps": config["layer_norm_epsilon"]},
        "positions": {
            "kind": "relative",
            "buckets": config["relative_attention_num_buckets"],
            "max_distance": config["relative_attention_max_distance"],
        },
        "tied": tied,
        "head_scale": width**-0.5 if scaled else None,
        "dropout": config["dropout_rate"],
        "tokens": {
            "pad": token_id(config, "pad", 0),
            "end": token_id(config, "eos", 1),
            "start": token_id(config, "decoder_start", 0),
        },
    }
    raw: JSON = {"name": "t5", "family": family, "language": language}
    if "gate_dense.weight" in state:
        raw |= {
            "family": "mm-cot",
            "bridge": {"kind": "gated-fusion", "image_width": state["image_dense.weight"].shape[1]},
        }
    return ModelSpec.parse(raw, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads.

    Raises CheckpointError for stacks of different heads or feed-forward widths: it has one `num_heads` and one `d_ff`.
    """
    language = language_of(spec)
    encoder, ff = language.encoder, language.feed_forward
    if encoder.attention != language.attention or encoder.feed_forward != ff:
        raise CheckpointError(
            f"'{spec.name}': its encoder has {encoder.attention.heads} heads and a feed-forward width of "
            f"{encoder.feed_forward.width}, its decoder {language.attention.heads} and {ff.width}; T5's config.json "
            "has one num_heads and one d_ff for both (`save` keeps such a model)"
        )
    activation = activation_to(ff.activation)
    gated = {"gelu_new": "gated-gelu"}.get(activation, f"gated-{activation}") if ff.gated else activation
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": language.vocabulary,
        "d_model": language.width,
        "d_kv": language.attention.head_width or language.width // language.attention.heads,
        "d_ff": ff.width,
        "num_layers": encoder.layers,
        "num_decoder_layers": language.layers,
        "num_heads": language.attention.heads,
        "feed_forward_proj": gated,
        "dense_act_fn": activation,  # which counts before it, as `is_gated_act` does
        "is_gated_act": ff.gated,
        "relative_attention_num_buckets": language.positions.buckets,
        "relative_attention_max_distance": language.positions.max_distance,
        "layer_norm_epsilon": language.norm.eps,
        "dropout_rate": language.dropout,
        "tie_word_embeddings": language.tied,
        "scale_decoder_outputs": language.head_scale is not None,
        "pad_token_id": language.tokens.pad,
        "eos_token_id": language.tokens.end,
        "decoder_start_token_id": language.tokens.start,
        "is_encoder_decoder": True,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub or reference one."""
    language = language_of(spec)
    kept = without(state, _LEFTOVERS)
    embeddings = embeddings_of(kept, *_EMBEDDING, first=_EMBEDDING[1])
    one = one_head(one_each(kept, _EMBEDDING, embeddings), _EMBEDDING[0], tied=language.tied)
    return rows_to_ours(_taken_apart(one, language.width) if spec.bridge is not None else one, _table(spec))


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours; with a fusion, the reference's layout."""
    result = rows_to_hub(state, _table(spec))
    if spec.bridge is not None:
        for kind in ("weight", "bias"):
            parts = (result.pop(f"mha_layer.q.{kind}"), result.pop(f"mha_layer.kv.{kind}"))
            result[f"mha_layer.in_proj_{kind}"] = torch.cat(parts)
    if language_of(spec).tied:
        result[HEAD] = result[_EMBEDDING[0]].clone()
    return result


def _taken_apart(state: Mapping[str, Tensor], width: int) -> LazyTensors:
    """The projections of the reference's attention: queries, and keys with values."""
    reads = later(state)
    for kind in ("weight", "bias"):
        for whole in reads.pop(f"mha_layer.in_proj_{kind}", ()):
            reads[f"mha_layer.q.{kind}"] = [changed(whole, lambda rows: rows[:width])]
            reads[f"mha_layer.kv.{kind}"] = [changed(whole, lambda rows: rows[width:])]
    return LazyTensors(reads)


def _table(spec: ModelSpec) -> list[NameMap]:
    language = language_of(spec)
    prefix = "language." if spec.bridge is not None else ""
    rows = [
        NameMap("embedding.weight", _EMBEDDING[:1]),
        NameMap("decoder_embedding.weight", _EMBEDDING[-1:]),
        NameMap("encoder.norm.weight", ("encoder.final_layer_norm.weight",)),
        NameMap("decoder.norm.weight", ("decoder.final_layer_norm.weight",)),
        NameMap("head.projection.weight", (HEAD,)),
    ]
    for stack, layers in (("encoder", language.encoder.layers), ("decoder", language.layers)):
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        rows.append(NameMap(f"{stack}.relative.embedding.weight", (bias,)))
        for layer in range(layers):
            rows += _layer(f"{stack}.layers.{layer}", f"{stack}.block.{layer}.layer", language, stack == "decoder")
    rows = [NameMap(prefix + row.ours, row.hub, row.rows) for row in rows]
    if spec.bridge is not None:
        for ours, hub in (
            ("image", "image_dense"),
            ("gate", "gate_dense"),
            ("out", "mha_layer.out_proj"),
            ("q", "mha_layer.q"),
            ("kv", "mha_layer.kv"),
        ):
            rows += [NameMap(f"bridge.{ours}.{kind}", (f"{hub}.{kind}",)) for kind in ("weight", "bias")]
    return rows


def _layer(ours: str, hub: str, language: TransformerSpec, cross: bool) -> list[NameMap]:
    last = 2 if cross else 1
    rows = [
        NameMap(f"{ours}.attention.qkv.weight", tuple(f"{hub}.0.SelfAttention.{p}.weight" for p in "qkv")),
        NameMap(f"{ours}.attention.out.weight", (f"{hub}.0.SelfAttention.o.weight",)),
        NameMap(f"{ours}.attention_norm.weight", (f"{hub}.0.layer_norm.weight",)),
        NameMap(f"{ours}.feed_forward.down.weight", (f"{hub}.{last}.DenseReluDense.wo.weight",)),
        NameMap(f"{ours}.feed_forward_norm.weight", (f"{hub}.{last}.layer_norm.weight",)),
    ]
    if language.feed_forward.gated:
        parts = tuple(f"{hub}.{last}.DenseReluDense.{part}.weight" for part in ("wi_0", "wi_1"))
        rows.append(NameMap(f"{ours}.feed_forward.gate_up.weight", parts))
    else:
        rows.append(NameMap(f"{ours}.feed_forward.up.weight", (f"{hub}.{last}.DenseReluDense.wi.weight",)))
    if cross:
        rows += [
            NameMap(f"{ours}.cross.q.weight", (f"{hub}.1.EncDecAttention.q.weight",)),
            NameMap(f"{ours}.cross.kv.weight", tuple(f"{hub}.1.EncDecAttention.{p}.weight" for p in "kv")),
            NameMap(f"{ours}.cross.out.weight", (f"{hub}.1.EncDecAttention.o.weight",)),
            NameMap(f"{ours}.cross_norm.weight", (f"{hub}.1.layer_norm.weight",)),
        ]
    return rows
