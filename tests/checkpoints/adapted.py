"""Small models of `transformers` to lay adapters on, and the comparison of their logits with ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
)

import sepiola

LLAMA: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "intermediate_size": 50,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
T5 = {"vocab_size": 61, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4}
CLIP = {"model_type": "clip_vision_model", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
CLIP |= {"intermediate_size": 36, "image_size": 16, "patch_size": 8}
VISION = {key: value for key, value in CLIP.items() if key != "model_type"}
QFORMER = {"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
QFORMER |= {"intermediate_size": 36}
OPT = {"vocab_size": 61, "hidden_size": 24, "ffn_dim": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
OPT |= {"max_position_embeddings": 32, "word_embed_proj_dim": 24, "pad_token_id": 1}
LLAVA = {"text_config": {**LLAMA, "model_type": "llama"}, "vision_config": CLIP, "image_token_index": 60}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "gpt2": {"vocab_size": 61, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32},
    "t5": {**T5, "feed_forward_proj": "gated-gelu"},
    "bart": {
        "vocab_size": 61,
        "d_model": 24,
        "max_position_embeddings": 32,
        **{f"{stack}_{key}": n for stack in ("encoder", "decoder") for key, n in (("layers", 2), ("ffn_dim", 40))},
        **{f"{stack}_attention_heads": 4 for stack in ("encoder", "decoder")},
    },
    "llava": LLAVA,
    "tied": {**LLAMA, "tie_word_embeddings": True},
    "mixtral": {**LLAMA, "intermediate_size": 48, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3": {**LLAMA, "head_dim": 8},
    "gemma3_text": {**LLAMA, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4},
    "smolvlm": {
        "text_config": {**LLAMA, "model_type": "llama"},
        "vision_config": VISION,
        "image_token_id": 60,
        "scale_factor": 2,
    },
    "blip-2": {
        "vision_config": VISION,
        "qformer_config": {**QFORMER, "cross_attention_frequency": 2, "encoder_hidden_size": 24},
        "text_config": {**OPT, "model_type": "opt"},
        "num_query_tokens": 4,
        "image_token_index": 60,
    },
}
LOADERS: dict[str, Any] = {
    **dict.fromkeys(("t5", "bart"), AutoModelForSeq2SeqLM),
    **dict.fromkeys(("llava", "smolvlm", "blip-2"), AutoModelForImageTextToText),
}
IMAGE_TOKENS = {"llava": 4, "smolvlm": 1, "blip-2": 4}


def reference(family: str, folder: Path) -> Any:
    """A model of `transformers` with random weights, kept in `folder`."""
    torch.manual_seed(0)
    loader = LOADERS.get(family, AutoModelForCausalLM)
    model = loader.from_config(CONFIG_MAPPING[{"tied": "llama"}.get(family, family)](**FAMILIES[family])).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    model.save_pretrained(folder)
    return loader.from_pretrained(folder).eval()


def given(family: str) -> dict[str, Tensor]:
    """What a model of the family reads: tokens, with pictures, or for a decoder apart."""
    tokens = torch.arange(4, 28).view(2, 12)
    if family in IMAGE_TOKENS:
        tokens[:, : IMAGE_TOKENS[family]] = 60
        tiles = (1,) if family == "smolvlm" else ()
        return {"input_ids": tokens, "pixel_values": torch.linspace(-1, 1, 2 * 3 * 256).view(2, *tiles, 3, 16, 16)}
    return {"input_ids": tokens, **({"decoder_input_ids": tokens[:, :5]} if family in ("t5", "bart") else {})}


def compare(ours: sepiola.Model | Any, theirs: Any, family: str) -> Tensor:
    """The reference's logits, which ours are too."""
    inputs = given(family)
    with torch.no_grad():
        wanted: Tensor = theirs(**inputs).logits
        names = {"pixel_values": "images", "decoder_input_ids": "target"}
        others = {names[name]: value for name, value in inputs.items() if name in names}
        if family == "smolvlm":
            others["images"] = others["images"].flatten(0, 1)
        mine = ours(inputs["input_ids"], **others)
    torch.testing.assert_close(mine, wanted, atol=1e-4, rtol=1e-4)
    return wanted


def taught(model: Any) -> Any:
    """The model, what learns in it drawn at random: matrices, magnitudes, biases, whole modules and rows of tokens."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.2)
    return model
