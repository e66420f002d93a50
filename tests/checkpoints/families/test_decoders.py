"""Decoder families against `transformers` on shared random weights: whole, cached, padded on either side, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

import sepiola
from sepiola.errors import CheckpointError
from tests.tiny import HUB_GPT, HUB_LLAMA, HUB_OPT

GPT = HUB_GPT
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
OPT = HUB_OPT
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT),
    "gpt2 odd": (
        "gpt2",
        {**GPT, "n_embd": 35, "n_head": 5, "n_inner": 51, "n_layer": 3, "activation_function": "gelu"},
    ),
    "gpt1": ("openai-gpt", GPT),
    "gpt1 odd": ("openai-gpt", {**GPT, "vocab_size": 53, "n_embd": 21, "n_head": 3, "n_layer": 1}),
    "opt": ("opt", OPT),
    "opt odd": ("opt", {**OPT, "hidden_size": 35, "word_embed_proj_dim": 35, "num_attention_heads": 5}),
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
    "qwen3 odd": ("qwen3", {**LLAMA, "head_dim": 6, "num_hidden_layers": 3, "tie_word_embeddings": True}),
}


def reference(name: str, **changes: Any) -> Any:
    """A model of `transformers` with random weights, large enough that every tensor tells."""
    kind, shape = SHAPES[name]
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**shape | changes)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
    return model


def tokens(model: Any) -> Tensor:
    return torch.randint(3, model.config.vocab_size, (3, 17))


def expected(model: Any, source: Tensor, mask: Tensor | None = None) -> Tensor:
    positions = None if mask is None else (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits: Tensor = model(input_ids=source, attention_mask=mask, position_ids=positions).logits
    return logits


@pytest.mark.parametrize("name", SHAPES)
def test_logits_agree_with_transformers(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    source = tokens(theirs)
    wanted = expected(theirs, source)
    assert wanted.std() > 0.1
    with torch.no_grad():
        torch.testing.assert_close(ours(source), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", SHAPES)
def test_padding_on_either_side_changes_nothing(name: str, side: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path)
    source = tokens(theirs)
    mask = torch.ones_like(source)
    for row, missing in enumerate((0, 5, 16)):
        mask[row, :missing] = 0
    mask = mask if side == "left" else mask.flip(1)
    with torch.no_grad():
        given = sepiola.load(tmp_path)(source, attention_mask=mask)
    real = mask.bool()
    torch.testing.assert_close(given[real], expected(theirs, source, mask)[real], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
def test_padding_between_tokens_changes_nothing(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path)
    source = tokens(theirs)[:, :8]
    mask = torch.tensor([[1, 1, 1, 0, 0, 1, 1, 1], [0, 1, 0, 1, 1, 1, 1, 0], [1] * 8])
    ours = sepiola.load(tmp_path)
    with torch.no_grad():
        given = ours(source, attention_mask=mask)
        state = ours.network.begin(source[:, :6], 4, attention_mask=mask[:, :6])
        later = ours.network.head(ours.network.extend(source[:, 5:], state, attention_mask=mask[:, 5:]))
    real = mask.bool()
    torch.testing.assert_close(given[real], expected(theirs, source, mask)[real], atol=1e-4, rtol=0)
    torch.testing.assert_close(later[real[:, 5:]], given[:, 5:][real[:, 5:]], atol=1e-4, rtol=0)
    for row, kept in zip(source, real, strict=True):
        bare = expected(theirs, row[None, kept])[0]
        torch.testing.assert_close(given[(row == source).all(1)][0][kept], bare, atol=1e-4, rtol=0)


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
    theirs = reference(name, sliding_window=5 if length == 40 else 40)
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


@pytest.mark.parametrize("name", SHAPES)
def test_cached_decoding_agrees_with_the_whole(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path)
    model = sepiola.load(tmp_path).network
    source = tokens(theirs)
    wanted = expected(theirs, source)
    mask = torch.ones_like(source)
    mask[0, :4] = 0
    shifted = expected(theirs, source, mask)
    with torch.inference_mode():
        for at, attention_mask in ((wanted, None), (shifted, mask)):
            begun = attention_mask[:, :9] if attention_mask is not None else None
            state = model.begin(source[:, :9], 8, attention_mask=begun)
            steps = [model.head(model.extend(source[:, t : t + 1], state)) for t in range(8, 17)]
            torch.testing.assert_close(torch.cat(steps, 1), at[:, 8:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SHAPES)
def test_saved_for_the_hub_gives_the_same_logits_in_transformers(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = sepiola.load(tmp_path / "theirs")
    ours.save_hub(tmp_path / "back")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "back").eval()
    source = tokens(theirs)
    torch.testing.assert_close(expected(again, source), expected(theirs, source), atol=1e-4, rtol=0)
    for key, value in sepiola.load(tmp_path / "back").state_dict().items():
        torch.testing.assert_close(value, ours.state_dict()[key], atol=1e-6, rtol=0)


@pytest.mark.parametrize("layers", [["sliding", "full"], ["full", "full"], ["sliding", "sliding"]], ids=" ".join)
def test_a_mistral_may_name_the_layers_with_a_window(layers: list[str], tmp_path: Path) -> None:
    """And a Mixtral may not: all of its layers have one."""
    for name in ("mistral", "mixtral"):
        reference(name, sliding_window=4).save_pretrained(tmp_path / name)
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


def test_gemmas_norms_keep_what_bfloat16_would_round_away(tmp_path: Path) -> None:
    theirs = reference("gemma3").to(torch.bfloat16)
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


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gpt2", {"activation_function": "mish"}, "the activation 'mish' is not known"),
        ("opt", {"word_embed_proj_dim": 12}, "opt-350m"),
    ],
)
def test_what_is_not_supported_is_said(name: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    reference(name).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=message):
        sepiola.load(tmp_path)
