"""LLaMA and its heirs in the Hub's layout: LLaMA (SmolLM2, TinyLlama), Mistral, Mixtral, Qwen2 and Qwen3 with their
mixtures, OLMoE, Gemma 3.

They share their names; what differs is in the config: biases of queries, keys and values (Qwen2), norms of queries
and keys (Qwen3, Gemma; over all heads: OLMoE), a head of its own or the embedding. Gemma's norms are zero-centred; it
closes its sublayers with norms too, scales its embeddings, and lets five of six layers see a window only.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, activation_from, activation_to, filled, language_of, token_id
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.heads import HEAD, head_of, one_head, vocabulary
from sepiola.checkpoints.lazy import LazyTensors
from sepiola.checkpoints.names import NameMap, prefixed
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.checkpoints.rope import positions_by_layer_from, positions_by_layer_to, positions_from, positions_to
from sepiola.errors import CheckpointError
from sepiola.specs.bricks import FeedForwardSpec
from sepiola.specs.model import ModelSpec, TransformerSpec

HOLDS_VISION = False
processor_from_spec = no_processor

GEMMA = "gemma3_text"
OLMOE = "olmoe"
QWEN2_MIXTURE, QWEN3_MIXTURE = _QWEN_MIXTURES = ("qwen2_moe", "qwen3_moe")
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    QWEN2_MIXTURE: "Qwen2MoeForCausalLM",
    QWEN3_MIXTURE: "Qwen3MoeForCausalLM",
    OLMOE: "OlmoeForCausalLM",
    GEMMA: "Gemma3ForCausalLM",
}
KINDS = tuple(_ARCHITECTURES)
_EMBEDDING = "model.embed_tokens.weight"
# What each kind's config is taken to say where it is silent.
_LLAMA: JSON = {"bos_token_id": 1, "eos_token_id": 2}
_MISTRAL: JSON = {**_LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8}
_QWEN: JSON = {"vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32}
_SILENT: dict[str, JSON] = {
    "llama": _LLAMA,
    "mistral": {**_MISTRAL, "sliding_window": 4096},
    "mixtral": {**_MISTRAL, "rms_norm_eps": 1e-5, "num_local_experts": 8, "rope_theta": 1e6},
    "qwen2": _QWEN,
    "qwen3": {**_QWEN, "head_dim": 128},
    QWEN2_MIXTURE: {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts": 60,
        "num_experts_per_tok": 4,
        "qkv_bias": True,
    },
    OLMOE: {
        "vocab_size": 50304,
        "hidden_size": 2048,
        "intermediate_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
        "rms_norm_eps": 1e-5,
        "num_experts": 64,
        "num_experts_per_tok": 8,
        "router_aux_loss_coef": 0.01,
        "pad_token_id": 1,
        "eos_token_id": 50279,
    },
    QWEN3_MIXTURE: {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 24,
        "num_key_value_heads": 4,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
    },
    GEMMA: {
        "vocab_size": 262208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "sliding_window": 4096,
        "_sliding_window_pattern": 6,
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    },
}
_DEFAULTS: JSON = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": int,
    "head_dim": int,
    "hidden_act": str,
    "hidden_activation": str,
    "max_position_embeddings": int,
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "qkv_bias": False,
    "clip_qkv": float,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "num_local_experts": int,
    "num_experts": int,
    "moe_intermediate_size": int,
    "shared_expert_intermediate_size": int,
    "norm_topk_prob": False,
    "decoder_sparse_step": 1,
    "mlp_only_layers": list,
    "num_experts_per_tok": 2,
    "router_aux_loss_coef": 0.001,
    "query_pre_attn_scalar": 256,
    "sliding_window": int,
    "sliding_window_pattern": int,
    "_sliding_window_pattern": int,
    "layer_types": list,
    "rope_theta": 10_000.0,
    "rope_parameters": dict,
    "rope_scaling": dict,
    "rope_local_base_freq": float,
    "tie_word_embeddings": False,
}


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint. Raises CheckpointError for what its family may have and ours has not."""
    kind = config["model_type"]
    if kind == QWEN2_MIXTURE and config.get("sliding_window") == 0:  # so it says that there is none
        config = {**config, "sliding_window": None}
    config, state = filled({**_SILENT[kind], **config}, _DEFAULTS), _named(state)
    activation = config["hidden_act"] or config["hidden_activation"] or "silu"
    for key in (
        "use_sliding_window",
        "final_logit_softcapping",
        "attn_logit_softcapping",
        "use_bidirectional_attention",
        "clip_qkv",
    ):
        if config.get(key):
            raise CheckpointError(f"config.json: {key} is not supported")
    language = {
        "family": kind,
        "kind": "decoder",
        "vocabulary": vocabulary(config, state, _EMBEDDING),
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "attention": {
            "heads": config["num_attention_heads"],
            "kv_heads": config["num_key_value_heads"],
            "head_width": config["head_dim"],
            "bias": kind == "qwen2" or config["qkv_bias"] or config["attention_bias"],
            "output_bias": config["attention_bias"],
            "qk_norm": "joined" if kind == OLMOE else kind in ("qwen3", QWEN3_MIXTURE, GEMMA),
            **_windows(config),
        },
        "feed_forward": {
            "width": config["moe_intermediate_size" if kind in _QWEN_MIXTURES else "intermediate_size"],
            "activation": activation_from(activation),
            "gated": True,
            "bias": config["mlp_bias"],
            **_experts(config),
        },
        "norm": {"kind": "rms", "eps": config["rms_norm_eps"]},
        "positions": positions_by_layer_from(config) if kind == GEMMA else positions_from(config),
        **head_of(config, state, _EMBEDDING),
        "dropout": config["attention_dropout"],
        "tokens": _tokens(config),
    }
    if kind == GEMMA:
        language["norm"] |= {"place": "sandwich", "zero_centred": True}
        language["embedding_scale"] = config["hidden_size"] ** 0.5
        language["attention"]["scale"] = config["query_pre_attn_scalar"] ** -0.5
    return ModelSpec.parse({"name": kind, "family": kind, "language": language}, "config.json")


def _experts(config: Config) -> JSON:
    """The experts, which layers have none, and the weight of the loss that balances them."""
    kind, experts = config["model_type"], config["num_local_experts"]
    if kind in (*_QWEN_MIXTURES, OLMOE) and experts is None:
        experts = config["num_experts"]
    if experts is None:
        return {}
    mixture = {
        "experts": experts,
        "chosen": config["num_experts_per_tok"],
        "balance_loss": config["router_aux_loss_coef"],
    }
    if kind == "mixtral":
        return mixture
    mixture["renormalise"] = config["norm_topk_prob"]
    if kind == QWEN2_MIXTURE:
        mixture["shared"] = config["shared_expert_intermediate_size"]
    if kind in _QWEN_MIXTURES and (dense := _dense(config)):
        mixture |= {"dense": dense, "dense_width": config["intermediate_size"]}
    return mixture


def _dense(config: Config) -> list[int]:
    """The layers that have one network instead of experts."""
    step, named = config["decoder_sparse_step"], config["mlp_only_layers"] or []
    return [layer for layer in range(config["num_hidden_layers"]) if layer in named or (layer + 1) % step]


def _windows(config: Config) -> JSON:
    """The window, and which layers have none. Raises CheckpointError when those are not evenly spaced."""
    if config["sliding_window"] is None or config["model_type"] not in ("mistral", "mixtral", GEMMA):
        return {}
    if config["model_type"] == "mixtral":  # all of its layers are alike, whatever else its config says
        return {"window": config["sliding_window"]}
    layers = config["layer_types"]
    every = None
    if config["model_type"] == GEMMA:
        every = config["sliding_window_pattern"] or config["_sliding_window_pattern"]
    if layers:
        every = next((n for n, layer in enumerate(layers, start=1) if layer == "full_attention"), None)
        if layers != _layer_types(len(layers), every):
            raise CheckpointError(f"config.json: layer_types {layers} are not supported; every n-th must be full")
    return {"window": config["sliding_window"], "full_every": every}


def _layer_types(layers: int, full_every: int | None) -> list[str]:
    return [
        "full_attention" if full_every and (layer + 1) % full_every == 0 else "sliding_attention"
        for layer in range(layers)
    ]


def _tokens(config: Config) -> dict[str, int]:
    """The ids that the config names; a list of end tokens is its first. Rows are filled with the end token where it
    names no padding, but for Gemma's, which is 0.
    """
    end = token_id(config, "eos", -1)
    pad = token_id(config, "pad", 0 if config["model_type"] == GEMMA else end)
    ids = {"pad": pad, "end": end, "start": token_id(config, "bos", -1)}
    return {name: value for name, value in ids.items() if value >= 0}


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    language = language_of(spec)
    attention, ff = language.attention, language.feed_forward
    width = attention.head_width or language.width // attention.heads
    activation = activation_to(ff.activation)
    bare = language.head.kind == "none" and spec.classifier is None
    architecture = _ARCHITECTURES[spec.family]
    config = {
        "architectures": [architecture.replace("ForCausalLM", "Model") if bare else architecture],
        "model_type": spec.family,
        "vocab_size": language.vocabulary,
        "hidden_size": language.width,
        "intermediate_size": ff.width,
        "num_hidden_layers": language.layers,
        "num_attention_heads": attention.heads,
        "num_key_value_heads": attention.kv_heads or attention.heads,
        "head_dim": width,
        "hidden_act": activation,
        "rms_norm_eps": language.norm.eps,
        **positions_to(language.positions),
        "attention_bias": attention.bias if spec.family not in ("qwen2", QWEN2_MIXTURE) else False,
        "mlp_bias": ff.bias,
        "attention_dropout": language.dropout,
        "tie_word_embeddings": language.tied and not bare,
        "pad_token_id": language.tokens.pad,
        "eos_token_id": language.tokens.end,
        "bos_token_id": language.tokens.start,
        "sliding_window": attention.window,
    }
    if language.positions.length is not None:
        config["max_position_embeddings"] = language.positions.length
    if ff.experts is not None:
        config |= {"num_experts_per_tok": ff.chosen, "router_aux_loss_coef": ff.balance_loss}
        config |= {"num_local_experts": ff.experts} if spec.family == "mixtral" else {"num_experts": ff.experts}
        config |= {} if spec.family == "mixtral" else {"norm_topk_prob": ff.renormalise}
        if spec.family in _QWEN_MIXTURES:
            config |= {"intermediate_size": ff.dense_width or ff.width, "mlp_only_layers": [*ff.dense]}
            config |= {"moe_intermediate_size": ff.width, "decoder_sparse_step": 1}
        if spec.family == QWEN2_MIXTURE:
            config |= {"qkv_bias": attention.bias, "shared_expert_intermediate_size": ff.shared}
    if spec.family == "mistral" and attention.full_every is not None:
        config["layer_types"] = _layer_types(language.layers, attention.full_every)
    if spec.family == GEMMA:
        config |= {
            "hidden_activation": activation,
            "query_pre_attn_scalar": round((attention.scale or width**-0.5) ** -2),
            "layer_types": _layer_types(language.layers, attention.full_every),
            **positions_by_layer_to(language.positions),
        }
    return config


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one, whose names may lack `model.`."""
    return rows_to_ours(one_head(_named(state), _EMBEDDING, tied=language_of(spec).tied), _table(spec))


def _named(state: Mapping[str, Tensor]) -> LazyTensors:
    return prefixed(state, "model.", "lm_head.")


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    return rows_to_hub(state, _table(spec))


def _table(spec: ModelSpec) -> list[NameMap]:
    language = language_of(spec)
    mixtral = "mixtral" in (spec.family, language.family)
    rows = [
        NameMap("embedding.weight", (_EMBEDDING,)),
        NameMap("decoder.norm.weight", ("model.norm.weight",)),
        NameMap("head.projection.weight", (HEAD,)),
    ]
    for layer in range(language.layers):
        own = language.feed_forward.of_layer(layer)
        rows += _layer(f"decoder.layers.{layer}", f"model.layers.{layer}", language, own, mixtral=mixtral)
    return rows


def _layer(ours: str, hub: str, language: TransformerSpec, ff: FeedForwardSpec, *, mixtral: bool) -> list[NameMap]:
    attention = language.attention
    width = attention.head_width or language.width // attention.heads
    kv = (attention.kv_heads or attention.heads) * width
    norms = {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
    if language.norm.place == "sandwich":
        norms |= {"attention_close": "post_attention_layernorm", "feed_forward_norm": "pre_feedforward_layernorm"}
        norms |= {"feed_forward_close": "post_feedforward_layernorm"}
    norms |= {f"attention.{part}_norm": f"self_attn.{part}_norm" for part in "qk"}
    rows = [NameMap(f"{ours}.{mine}.weight", (f"{hub}.{theirs}.weight",)) for mine, theirs in norms.items()]
    moe = f"{hub}.block_sparse_moe" if mixtral else f"{hub}.mlp"
    gate, down, up = ("w1", "w2", "w3") if mixtral else ("gate_proj", "down_proj", "up_proj")
    experts = range(ff.experts or 0)
    if experts:
        rows += [
            NameMap(f"{ours}.feed_forward.router.weight", (f"{moe}.gate.weight",)),
            NameMap(
                f"{ours}.feed_forward.gate_up.weight",
                tuple(f"{moe}.experts.{e}.{part}.weight" for e in experts for part in (gate, up)),
            ),
            NameMap(f"{ours}.feed_forward.down.weight", tuple(f"{moe}.experts.{e}.{down}.weight" for e in experts)),
        ]
    if ff.shared:
        gate_up = tuple(f"{moe}.shared_expert.{part}.weight" for part in (gate, up))
        rows += [
            NameMap(f"{ours}.feed_forward.shared.gate_up.weight", gate_up),
            NameMap(f"{ours}.feed_forward.shared.down.weight", (f"{moe}.shared_expert.{down}.weight",)),
            NameMap(f"{ours}.feed_forward.shared_gate.weight", (f"{moe}.shared_expert_gate.weight",)),
        ]
    for kind in ("weight", "bias"):
        qkv = tuple(f"{hub}.self_attn.{part}_proj.{kind}" for part in "qkv")
        gate_up = tuple(f"{hub}.mlp.{part}_proj.{kind}" for part in ("gate", "up"))
        rows += [
            NameMap(f"{ours}.attention.qkv.{kind}", qkv, (attention.heads * width, kv, kv)),
            NameMap(f"{ours}.attention.out.{kind}", (f"{hub}.self_attn.o_proj.{kind}",)),
        ]
        if not experts:
            rows += [
                NameMap(f"{ours}.feed_forward.gate_up.{kind}", gate_up),
                NameMap(f"{ours}.feed_forward.down.{kind}", (f"{hub}.mlp.down_proj.{kind}",)),
            ]
    return rows
