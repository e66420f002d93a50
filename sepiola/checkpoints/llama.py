"""LLaMA and its heirs in the Hub's layout: LLaMA (SmolLM2, TinyLlama), Qwen2, Qwen3.

They share their names; what differs is told by the config: biases of queries, keys and values (Qwen2), norms of queries
and keys (Qwen3), a head of its own or the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sepiola.checkpoints.names import Row
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec, TransformerSpec

_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
_ACTIVATIONS = {"silu": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}


def spec_from_config(
    config: Mapping[str, Any], state: Mapping[str, Tensor], *, preprocessor: Mapping[str, Any] | None = None
) -> ModelSpec:
    """The spec of a Hub checkpoint. Raises CheckpointError for scaled rotary positions and an unknown activation."""
    kind = config["model_type"]
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise CheckpointError(f"config.json: rotary positions of type '{rope}' are not supported; only 'default' are")
    if config.get("hidden_act", "silu") not in _ACTIVATIONS:
        raise CheckpointError(f"config.json: hidden_act '{config['hidden_act']}' is not known")
    if config.get("use_sliding_window"):
        raise CheckpointError("config.json: use_sliding_window is not supported")
    language = {
        "kind": "decoder",
        "vocabulary": config["vocab_size"],
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "attention": {
            "heads": config["num_attention_heads"],
            "kv_heads": config.get("num_key_value_heads"),
            "head_width": config.get("head_dim"),
            "bias": kind == "qwen2" or config.get("attention_bias", False),
            "output_bias": config.get("attention_bias", False),
            "qk_norm": kind == "qwen3",
        },
        "feed_forward": {
            "width": config["intermediate_size"],
            "activation": _ACTIVATIONS[config.get("hidden_act", "silu")],
            "gated": True,
            "bias": config.get("mlp_bias", False),
        },
        "norm": {"kind": "rms", "eps": config.get("rms_norm_eps", 1e-6)},
        "positions": {"kind": "rotary", "base": rope.get("rope_theta") or config.get("rope_theta", 10_000.0)},
        "tied": "lm_head.weight" not in state,
        "dropout": config.get("attention_dropout", 0.0),
        "tokens": _tokens(config),
    }
    return ModelSpec.parse({"name": kind, "family": kind, "language": language}, "config.json")


def _tokens(config: Mapping[str, Any]) -> dict[str, int]:
    """The ids that the config names; a list of end tokens is its first."""
    found = {"pad": config.get("pad_token_id"), "end": config.get("eos_token_id"), "start": config.get("bos_token_id")}
    firsts = {name: value[0] if isinstance(value, list) else value for name, value in found.items()}
    return {name: value for name, value in firsts.items() if value is not None and value >= 0}


def config_from_spec(spec: ModelSpec) -> dict[str, Any]:
    """The `config.json` that `transformers` reads."""
    language = _language(spec)
    attention, ff = language.attention, language.feed_forward
    return {
        "architectures": [_ARCHITECTURES[spec.family]],
        "model_type": spec.family,
        "vocab_size": language.vocabulary,
        "hidden_size": language.width,
        "intermediate_size": ff.width,
        "num_hidden_layers": language.layers,
        "num_attention_heads": attention.heads,
        "num_key_value_heads": attention.kv_heads or attention.heads,
        "head_dim": attention.head_width or language.width // attention.heads,
        "hidden_act": next(hub for hub, ours in _ACTIVATIONS.items() if ours == ff.activation),
        "rms_norm_eps": language.norm.eps,
        "rope_theta": language.positions.base,
        "attention_bias": attention.bias if spec.family != "qwen2" else False,
        "mlp_bias": ff.bias,
        "attention_dropout": language.dropout,
        "tie_word_embeddings": language.tied,
        "pad_token_id": language.tokens.pad,
        "eos_token_id": language.tokens.end,
        "bos_token_id": language.tokens.start,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """Our state dict from a Hub one; the rotary tables that old files hold are computed instead."""
    kept = {name: value for name, value in state.items() if not name.endswith("rotary_emb.inv_freq")}
    return rows_to_ours(kept, _table(spec))


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    return rows_to_hub(state, _table(spec))


def _table(spec: ModelSpec) -> list[Row]:
    language = _language(spec)
    rows = [
        Row("embedding.weight", ("model.embed_tokens.weight",)),
        Row("decoder.norm.weight", ("model.norm.weight",)),
        Row("head.projection.weight", ("lm_head.weight",)),
    ]
    for layer in range(language.layers):
        rows += _layer(f"decoder.layers.{layer}", f"model.layers.{layer}", language)
    return rows


def _layer(ours: str, hub: str, language: TransformerSpec) -> list[Row]:
    attention = language.attention
    width = attention.head_width or language.width // attention.heads
    kv = (attention.kv_heads or attention.heads) * width
    rows = [
        Row(f"{ours}.attention_norm.weight", (f"{hub}.input_layernorm.weight",)),
        Row(f"{ours}.feed_forward_norm.weight", (f"{hub}.post_attention_layernorm.weight",)),
        Row(f"{ours}.attention.q_norm.weight", (f"{hub}.self_attn.q_norm.weight",)),
        Row(f"{ours}.attention.k_norm.weight", (f"{hub}.self_attn.k_norm.weight",)),
    ]
    for kind in ("weight", "bias"):
        qkv = tuple(f"{hub}.self_attn.{part}_proj.{kind}" for part in "qkv")
        gate_up = tuple(f"{hub}.mlp.{part}_proj.{kind}" for part in ("gate", "up"))
        rows += [
            Row(f"{ours}.attention.qkv.{kind}", qkv, (attention.heads * width, kv, kv)),
            Row(f"{ours}.attention.out.{kind}", (f"{hub}.self_attn.o_proj.{kind}",)),
            Row(f"{ours}.feed_forward.gate_up.{kind}", gate_up),
            Row(f"{ours}.feed_forward.down.{kind}", (f"{hub}.mlp.down_proj.{kind}",)),
        ]
    return rows


def _language(spec: ModelSpec) -> TransformerSpec:
    assert spec.language is not None
    return spec.language
