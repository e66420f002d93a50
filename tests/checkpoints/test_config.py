"""Keys of a Hub config that are missing, of another type or absurd: the default of `transformers`, or one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

import sepiola
from sepiola.checkpoints.config import filled
from sepiola.errors import CheckpointError, SepiolaError
from tests.checkpoints.families.test_published import IDEFICS
from tests.tiny import HUB_GPT, HUB_LLAMA, HUB_OPT, HUB_T5, HUB_VIT, randomise

LLAVA = {
    "text_config": {**HUB_LLAMA, "model_type": "llama"},
    "vision_config": {**HUB_VIT, "model_type": "clip_vision_model"},
    "image_token_index": 5,
}
SHAPES: dict[str, Any] = {
    "gpt2": HUB_GPT,
    "llama": HUB_LLAMA,
    "opt": HUB_OPT,
    "t5": HUB_T5,
    "vit": HUB_VIT,
    "idefics3": IDEFICS,
    "llava": LLAVA,
}
WRONG = (None, -1, 0, 10**9, 10**30, float("inf"), "x", [], {"a": 1}, True)


def test_a_missing_key_is_its_default_and_a_wrong_one_is_named() -> None:
    defaults = {"size": 3, "rate": 0.1, "name": "x", "on": True, "maybe": int, "pad_token_id": 1}
    assert filled({}, defaults) == {**defaults, "maybe": None}
    assert filled({"size": 5, "rate": 1, "other": []}, defaults)["size"] == 5
    assert filled({"maybe": None, "pad_token_id": -1}, defaults)["pad_token_id"] == -1
    for key, value, message in (
        ("size", "5", "size is '5'; expected a whole number"),
        ("size", True, "size is True; expected a whole number"),
        ("size", 2.0, "size is 2.0; expected a whole number"),
        ("size", None, "size is None; expected a whole number"),
        ("size", 0, "size is 0; expected 1 or more"),
        ("maybe", -2, "maybe is -2; expected 1 or more"),
        ("size", 10**30, "which no model has"),
        ("rate", float("nan"), "which no model has"),
        ("name", {"a": 1}, "name is {'a': 1}; expected a text"),
        ("on", 1, "on is 1; expected true or false"),
    ):
        with pytest.raises(CheckpointError, match=r"^config\.json: ") as caught:
            filled({key: value}, defaults)
        assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma3_text", "opt"])
def test_keys_left_out_are_the_defaults_of_transformers(kind: str, tmp_path: Path) -> None:
    """All but the sizes are left out; both read the same folder."""
    shape = HUB_GPT if kind == "gpt2" else HUB_OPT if kind == "opt" else {**HUB_LLAMA, "head_dim": 8}
    torch.manual_seed(0)
    shape = {**shape, **({"num_local_experts": 4} if kind == "mixtral" else {})}
    if kind == "mixtral":
        shape["intermediate_size"] = 52
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**shape))
    for parameter in model.parameters():
        parameter.data.normal_(0.1, 0.3)
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, **shape}))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    tokens = torch.randint(3, 60, (2, 17))
    with torch.no_grad():
        torch.testing.assert_close(sepiola.load(tmp_path)(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", SHAPES)
def test_any_key_missing_or_of_any_other_value_is_one_message_or_right(kind: str, tmp_path: Path) -> None:
    AutoModel.from_config(CONFIG_MAPPING[kind](**SHAPES[kind])).save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "config.json").read_text())
    places: list[dict[str, Any]] = [whole, *(value for value in whole.values() if isinstance(value, dict) and value)]
    refused = 0
    for place in places:
        for key, old in list(place.items()):
            del place[key]
            for value in (..., *WRONG):
                if value is not ...:
                    place[key] = value
                (tmp_path / "config.json").write_text(json.dumps(whole))
                try:
                    sepiola.load(tmp_path)
                except SepiolaError as error:
                    refused += 1
                    assert len(str(error)) < 3000
            place[key] = old
    assert refused > 50


SHARED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "gpt2": (HUB_GPT, {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"}),
    "t5": (HUB_T5, {"d_model": "hidden_size", "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads"}),
    "bart": ({"vocab_size": 99, "d_model": 32, "max_position_embeddings": 40}, {"d_model": "hidden_size"}),
}


@pytest.mark.parametrize("kind", SHARED)
def test_sizes_may_have_the_names_that_all_families_share(kind: str, tmp_path: Path) -> None:
    shape, names = SHARED[kind]
    sizes = {f"{side}_{key}": 4 for side in ("encoder", "decoder") for key in ("attention_heads", "ffn_dim")}
    auto = AutoModelForCausalLM if kind == "gpt2" else AutoModelForSeq2SeqLM
    more = {**sizes, "encoder_layers": 1, "decoder_layers": 1} if kind == "bart" else {}
    randomise(auto.from_config(CONFIG_MAPPING[kind](**shape, **more)), 0.1, 0.3).save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({names.get(key, key): value for key, value in raw.items()}))
    theirs, ids = auto.from_pretrained(tmp_path).eval(), torch.randint(3, 90, (1, 7))
    target = () if kind == "gpt2" else (ids[:, :3],)
    with torch.no_grad():
        wanted = theirs(input_ids=ids, **({"decoder_input_ids": target[0]} if target else {})).logits
        torch.testing.assert_close(sepiola.load(tmp_path)(ids, *target), wanted, atol=1e-4, rtol=0)
