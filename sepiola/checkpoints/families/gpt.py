"""GPT-1 and GPT-2 in the Hub's layout: linear layers are stored transposed, and names may lack `transformer.`.

GPT-1 (`openai-gpt`) normalises after each sublayer, has no final norm, and names its embeddings otherwise.
"""

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

_EMBEDDINGS = {"gpt2": ("wte", "wpe"), "openai-gpt": ("tokens_embed", "positions_embed")}
PREFIX = "transformer."


def spec_from_config(config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None) -> ModelSpec:
    """The spec of a Hub checkpoint. Raises CheckpointError for an unknown activation or attention."""
    family = config["model_type"]
    if family == "gpt2":
        activation = config.get("activation_function", "gelu_new")
    else:
        activation = {"gelu": "gelu_new"}.get(config.get("afn", "gelu"), config.get("afn"))  # its gelu is the tanh form
    if config.get("scale_attn_by_inverse_layer_idx") or not config.get("scale_attn_weights", True):
        raise CheckpointError("config.json: attention that is scaled by layer, or not at all, is not supported")
    end = _token(config, "eos", config["vocab_size"] - 1)
    language = {
        "family": family,
        "kind": "decoder",
        "vocabulary": config["vocab_size"],
        "width": config["n_embd"],
        "layers": config["n_layer"],
        "attention": {"heads": config["n_head"], "bias": True},
        "feed_forward": {
            "width": config.get("n_inner") or 4 * config["n_embd"],
            "activation": activation_from(activation),
            "bias": True,
        },
        "norm": {"eps": config.get("layer_norm_epsilon", 1e-5), "place": "pre" if family == "gpt2" else "post"},
        "positions": {"kind": "learned", "length": config["n_positions"]},
        "tied": not _has_own_head(state, family),
        "dropout": config.get("resid_pdrop", 0.1),
        "tokens": {"pad": _token(config, "pad", end), "end": end, "start": _token(config, "bos", end)},
    }
    return ModelSpec.parse({"name": family, "family": family, "language": language}, "config.json")


def _token(config: Config, name: str, default: int) -> int:
    token = config.get(f"{name}_token_id")
    return default if token is None else int(token)


def _has_own_head(state: Mapping[str, Tensor], family: str) -> bool:
    head, embedding = state.get("lm_head.weight"), state.get(f"{PREFIX}{_EMBEDDINGS[family][0]}.weight")
    return head is not None and not (embedding is not None and head.equal(embedding))


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
    """Our state dict from a Hub one; the causal masks that old files hold are left out."""
    tied = language_of(spec).tied
    return rows_to_ours(renamed(state, lambda name: _whole(name, tied)), _table(spec))


def _whole(name: str, tied: bool) -> str | None:
    if name.endswith((".attn.bias", ".attn.masked_bias", "position_ids")) or (tied and name == "lm_head.weight"):
        return None
    return name if name.startswith((PREFIX, "lm_head")) else PREFIX + name


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    return rows_to_hub(state, _table(spec))


def _table(spec: ModelSpec) -> list[NameMap]:
    tokens, positions = _EMBEDDINGS[spec.family]
    rows = [
        NameMap("embedding.weight", (f"{PREFIX}{tokens}.weight",)),
        NameMap("decoder.positions.embedding.weight", (f"{PREFIX}{positions}.weight",)),
        NameMap("head.projection.weight", ("lm_head.weight",)),
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
