"""GPT-1 and GPT-2 in the Hub's layout: linear layers are stored transposed, and names may lack `transformer.`.

GPT-1 (`openai-gpt`) normalises after each sublayer, has no final norm, and names its embeddings otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

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
from sepiola.checkpoints.heads import HEAD, head_of, one_head, vocabulary
from sepiola.checkpoints.lazy import LazyTensors
from sepiola.checkpoints.names import NameMap, prefixed, without
from sepiola.checkpoints.names import to_hub as rows_to_hub
from sepiola.checkpoints.names import to_ours as rows_to_ours
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec

HOLDS_VISION = False
processor_from_spec = no_processor

_EMBEDDINGS = {"gpt2": ("wte", "wpe"), "openai-gpt": ("tokens_embed", "positions_embed")}
PREFIX = "transformer."
# The causal masks that old files hold; a bias that is learned is called `attn.c_attn.bias`.
_LEFTOVERS = r"(.+\.)?h\.\d+\.(attn|crossattention)\.(bias|masked_bias)"
_DEFAULTS: dict[str, JSON] = {
    "gpt2": {"vocab_size": 50257, "n_positions": 1024, "activation_function": "gelu_new", "n_inner": int},
    "openai-gpt": {"vocab_size": 40478, "n_positions": 512, "afn": "gelu", "n_inner": int},
}
_ALIASES = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
_ALIASES |= {"max_position_embeddings": "n_positions"}
_SHARED: JSON = {
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "layer_norm_epsilon": 1e-5,
    "resid_pdrop": 0.1,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "tie_word_embeddings": True,
}


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint. Raises CheckpointError for an unknown activation or attention."""
    family = config["model_type"]
    config, state = filled(spelled(config, **_ALIASES), {**_DEFAULTS[family], **_SHARED}), _named(state)
    if family == "gpt2":
        activation = config["activation_function"]
    else:
        activation = {"gelu": "gelu_new"}.get(config["afn"], config["afn"])  # its gelu is the tanh form
    if config["scale_attn_by_inverse_layer_idx"] or not config["scale_attn_weights"]:
        raise CheckpointError("config.json: attention that is scaled by layer, or not at all, is not supported")
    embedding = f"{PREFIX}{_EMBEDDINGS[family][0]}.weight"
    end = token_id(config, "eos", config["vocab_size"] - 1)
    language = {
        "family": family,
        "kind": "decoder",
        "vocabulary": vocabulary(config, state, embedding),
        "width": config["n_embd"],
        "layers": config["n_layer"],
        "attention": {"heads": config["n_head"], "bias": True},
        "feed_forward": {
            "width": config["n_inner"] or 4 * config["n_embd"],
            "activation": activation_from(activation),
            "bias": True,
        },
        "norm": {"eps": config["layer_norm_epsilon"], "place": "pre" if family == "gpt2" else "post"},
        "positions": {"kind": "learned", "length": config["n_positions"]},
        **head_of(config, state, embedding),
        "dropout": config["resid_pdrop"],
        "tokens": {"pad": token_id(config, "pad", end), "end": end, "start": token_id(config, "bos", end)},
    }
    return ModelSpec.parse({"name": family, "family": family, "language": language}, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads."""
    language = language_of(spec)
    ff = language.feed_forward
    activation = activation_to(ff.activation)
    if spec.family == "gpt2":
        named = {"activation_function": activation}
    else:
        named = {"afn": {"gelu_new": "gelu"}.get(activation, activation)}
    return {
        "architectures": ["GPT2LMHeadModel" if spec.family == "gpt2" else "OpenAIGPTLMHeadModel"],
        "model_type": spec.family,
        "vocab_size": language.vocabulary,
        "n_embd": language.width,
        "n_layer": language.layers,
        "n_head": language.attention.heads,
        "n_inner": ff.width,
        "n_positions": language.positions.length,
        **named,
        "layer_norm_epsilon": language.norm.eps,
        "resid_pdrop": language.dropout,
        "embd_pdrop": language.dropout,
        "attn_pdrop": language.dropout,
        "tie_word_embeddings": language.tied,
        "eos_token_id": language.tokens.end,
        "bos_token_id": language.tokens.start,
        "pad_token_id": language.tokens.pad,
    }


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub one, whose names may lack `transformer.`."""
    embedding = f"{PREFIX}{_EMBEDDINGS[spec.family][0]}.weight"
    return rows_to_ours(one_head(_named(state), embedding, tied=language_of(spec).tied), _table(spec))


def _named(state: Mapping[str, Tensor]) -> LazyTensors:
    return prefixed(without(state, _LEFTOVERS), PREFIX, "lm_head.")


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    return rows_to_hub(state, _table(spec))


def _table(spec: ModelSpec) -> list[NameMap]:
    tokens, positions = _EMBEDDINGS[spec.family]
    rows = [
        NameMap("embedding.weight", (f"{PREFIX}{tokens}.weight",)),
        NameMap("decoder.positions.embedding.weight", (f"{PREFIX}{positions}.weight",)),
        NameMap("head.projection.weight", (HEAD,)),
        *_both("decoder.norm", f"{PREFIX}ln_f"),
    ]
    for layer in range(language_of(spec).layers):
        ours, hub = f"decoder.layers.{layer}", f"{PREFIX}h.{layer}"
        rows += _both(f"{ours}.attention_norm", f"{hub}.ln_1") + _both(f"{ours}.feed_forward_norm", f"{hub}.ln_2")
        for part, name in (
            ("attention.qkv", "attn.c_attn"),
            ("attention.out", "attn.c_proj"),
            ("feed_forward.up", "mlp.c_fc"),
            ("feed_forward.down", "mlp.c_proj"),
        ):
            rows.append(NameMap(f"{ours}.{part}.weight", (f"{hub}.{name}.weight",), turned=True))
            rows.append(NameMap(f"{ours}.{part}.bias", (f"{hub}.{name}.bias",)))
    return rows


def _both(ours: str, hub: str) -> list[NameMap]:
    return [NameMap(f"{ours}.{kind}", (f"{hub}.{kind}",)) for kind in ("weight", "bias")]
