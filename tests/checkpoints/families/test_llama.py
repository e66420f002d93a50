"""LLaMA and its heirs against `transformers`: LLaMA, Mistral, mixtures, Qwen2, Qwen3, Gemma 3; layers with a window."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import sepiola
from sepiola.errors import CheckpointError
from tests.checkpoints.families.decoders import (
    CHECKS,
    Shape,
    expected,
    padding_between_tokens_changes_nothing,
    reference,
    tokens,
)
from tests.tiny import HUB_LLAMA

LLAMA = {**HUB_LLAMA, "rope_theta": 5000.0}
GEMMA = {
    **HUB_LLAMA,
    "head_dim": 8,
    "query_pre_attn_scalar": 19,
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"],
    "pad_token_id": 0,
}
# The reference's grouped products want rows of whole 16 bytes.
ODD_EXPERTS = {"intermediate_size": 44, "num_local_experts": 5, "num_experts_per_tok": 3, "sliding_window": 6}
QWEN_MIXTURE = {
    **LLAMA,
    "head_dim": 8,
    "moe_intermediate_size": 28,
    "num_experts": 6,
    "num_experts_per_tok": 3,
    "norm_topk_prob": True,
}
QWEN2_MIXTURE = {**QWEN_MIXTURE, "norm_topk_prob": False, "shared_expert_intermediate_size": 20}
del QWEN2_MIXTURE["head_dim"]
OLMOE = {**LLAMA, "intermediate_size": 28, "num_experts": 6, "num_experts_per_tok": 3}
SHAPES: dict[str, Shape] = {
    "llama": ("llama", LLAMA),
    "llama odd": (
        "llama",
        {**LLAMA, "head_dim": 10, "num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True},
    ),
    "llama tied": ("llama", {**LLAMA, "tie_word_embeddings": True, "num_key_value_heads": 6}),
    "qwen2": ("qwen2", {**LLAMA, "tie_word_embeddings": True}),
    "qwen2 odd": ("qwen2", {**LLAMA, "hidden_size": 42, "num_attention_heads": 3, "num_key_value_heads": 3}),
    "mistral": ("mistral", {**LLAMA, "sliding_window": 5}),
    "mixtral": ("mixtral", {**LLAMA, "intermediate_size": 52, "num_local_experts": 4}),
    "mixtral odd": ("mixtral", {**LLAMA, **ODD_EXPERTS}),
    "gemma3": ("gemma3_text", GEMMA),
    "gemma3 odd": (
        "gemma3_text",
        {**GEMMA, "num_hidden_layers": 7, "head_dim": 6, "sliding_window": 9, "layer_types": None},
    ),
    "qwen3": ("qwen3", {**LLAMA, "head_dim": 16}),
    "qwen3's mixture": ("qwen3_moe", QWEN_MIXTURE),
    "qwen3's mixture, some layers dense": (
        "qwen3_moe",
        {**QWEN_MIXTURE, "num_hidden_layers": 3, "mlp_only_layers": [2], "norm_topk_prob": False},
    ),
    "qwen2's mixture": ("qwen2_moe", QWEN2_MIXTURE),
    "qwen2's mixture odd": (
        "qwen2_moe",
        {**QWEN2_MIXTURE, "num_hidden_layers": 3, "decoder_sparse_step": 2, "norm_topk_prob": True, "qkv_bias": False},
    ),
    "olmoe": ("olmoe", OLMOE),
    "olmoe odd": ("olmoe", {**OLMOE, "norm_topk_prob": True, "num_key_value_heads": 1, "attention_bias": True}),
    "qwen3 odd": ("qwen3", {**LLAMA, "head_dim": 6, "num_hidden_layers": 3, "tie_word_embeddings": True}),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SHAPES)
def test_as_in_transformers(name: str, check: Callable[[Shape, Path], None], tmp_path: Path) -> None:
    check(SHAPES[name], tmp_path)


def test_padding_between_tokens_changes_nothing(tmp_path: Path) -> None:
    padding_between_tokens_changes_nothing(SHAPES["llama"], tmp_path)


HOLES = {
    "left": [0] * 7 + [1] * 33,
    "right": [1] * 33 + [0] * 7,
    "middle": [1] * 14 + [0] * 9 + [1] * 17,
    "everywhere": [0] * 3 + [1] * 10 + [0] * 4 + [1] * 12 + [0] * 2 + [1] * 6 + [0] * 3,
}


@pytest.mark.parametrize("length", [40, 600], ids=["short", "in slices"])
@pytest.mark.parametrize("name", ["mistral", "gemma3"])
def test_a_window_holds_tokens_and_no_padding(name: str, length: int, tmp_path: Path) -> None:
    """As in a row without padding; `transformers` itself counts what stands between the tokens."""
    theirs = reference(SHAPES[name], sliding_window=5 if length == 40 else 40)
    theirs.save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    rows, more = (torch.randint(3, theirs.config.vocab_size, (len(HOLES), count)) for count in (length, 20))
    mask = torch.tensor(list(HOLES.values())).repeat_interleave(length // 40, 1)
    with torch.no_grad():
        given = ours(rows, attention_mask=mask)
        state = ours.network.begin(rows, 20, attention_mask=mask)
        steps = [ours.network.extend(step, state) for step in (rows[:, -1:], *more.split(1, 1))]
        written = ours.network.head(torch.cat(steps, 1))
        for row, real in enumerate(mask.bool()):
            wanted = expected(theirs, torch.cat((rows[row][real], more[row]))[None])[0]
            torch.testing.assert_close(given[row][real], wanted[:-20], atol=1e-4, rtol=0)
            torch.testing.assert_close(written[row, 1:], wanted[-20:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("layers", [["sliding", "full"], ["full", "full"], ["sliding", "sliding"]], ids=" ".join)
def test_a_mistral_may_name_the_layers_with_a_window(layers: list[str], tmp_path: Path) -> None:
    """And a Mixtral may not: all of its layers have one."""
    for name in ("mistral", "mixtral"):
        reference(SHAPES[name], sliding_window=4).save_pretrained(tmp_path / name)
        config = json.loads((tmp_path / name / "config.json").read_text())
        config["layer_types"] = [f"{layer}_attention" for layer in layers]
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / name, attn_implementation="eager").eval()
        ours, source = sepiola.load(tmp_path / name), torch.randint(3, 97, (2, 17))
        ours.save_hub(tmp_path / f"{name} back")
        again = AutoModelForCausalLM.from_pretrained(tmp_path / f"{name} back", attn_implementation="eager").eval()
        with torch.no_grad():
            torch.testing.assert_close(ours(source), expected(theirs, source), atol=1e-4, rtol=0)
            torch.testing.assert_close(expected(again, source), ours(source), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("qwen3's mixture", {"decoder_sparse_step": 0}, "decoder_sparse_step is 0; expected 1 or more"),
        ("olmoe", {"clip_qkv": 8.0}, "clip_qkv is not supported"),
    ],
)
def test_mixtures_of_another_kind_are_refused_by_name(
    name: str, changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    reference(SHAPES[name]).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **changed}))
    with pytest.raises(CheckpointError, match=message):
        sepiola.load(tmp_path)


def test_gemmas_norms_keep_what_bfloat16_would_round_away(tmp_path: Path) -> None:
    theirs = reference(SHAPES["gemma3"]).to(torch.bfloat16)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "norm" in name:
                parameter.normal_(0, 0.003)  # lost in bfloat16 once one is added
    theirs.save_pretrained(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    norms = {name: value for name, value in theirs.state_dict().items() if "norm" in name}
    ours.save_hub(tmp_path / "back")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "back", dtype=torch.bfloat16).state_dict()
    assert all(torch.equal(again[name], value) for name, value in norms.items())
    source = tokens(theirs)
    exact = AutoModelForCausalLM.from_pretrained(tmp_path / "hub", dtype=torch.float32).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours.float()(source), expected(exact, source), atol=1e-4, rtol=0)
