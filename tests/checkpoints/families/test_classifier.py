"""Classifiers and reward models in the Hub's layout, against `transformers`: in and out, padded on either side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

import sepiola
from sepiola.errors import CheckpointError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from tests import tiny

GPT = {"vocab_size": 97, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 40}
WIDTHS = {"vocab_size": 101, "hidden_size": 24, "num_hidden_layers": 2}
LLAMA = {**WIDTHS, "intermediate_size": 50, "num_attention_heads": 6, "num_key_value_heads": 2}
OPT = {"word_embed_proj_dim": 24, "ffn_dim": 37, "num_attention_heads": 3, "max_position_embeddings": 40}
HUB: dict[str, dict[str, Any]] = {
    "openai-gpt": GPT,
    "gpt2": GPT,
    "opt": {**WIDTHS, **OPT},
    "llama": LLAMA,
    "mistral": {**LLAMA, "sliding_window": 5},
    "mixtral": {**LLAMA, "intermediate_size": 52, "num_local_experts": 4},
    "qwen2": {**LLAMA, "tie_word_embeddings": True},
    "qwen3": {**LLAMA, "head_dim": 8},
    "gemma3_text": {
        **LLAMA,
        "head_dim": 8,
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}
END = 2


def reference(name: str, pad: int = 1, labels: int = 1, **changes: Any) -> Any:
    ids = {"pad_token_id": pad, "eos_token_id": END, "bos_token_id": 3}
    config = CONFIG_MAPPING[name](**HUB.get(name, {}), **{"num_labels": labels, **ids, **changes})
    torch.manual_seed(0)
    theirs = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.1, 0.3)
        if name == "openai-gpt":
            theirs.score.weight.normal_(0.0, 2.0)  # what its last norm leaves is small
    return theirs


@pytest.mark.parametrize("pad", [1, END])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", HUB)
def test_scores_agree_with_transformers(name: str, side: str, pad: int, tmp_path: Path) -> None:
    theirs = reference(name, pad)
    theirs.save_pretrained(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    assert ours.spec.classifier is not None and ours.spec.classifier.kind == "reward"
    torch.manual_seed(1)
    tokens, mask = torch.randint(4, 80, (3, 11)), torch.ones(3, 11, dtype=torch.long)
    for row, length in enumerate((11, 6, 1)):
        padding = slice(length, None) if side == "right" else slice(0, 11 - length)
        tokens[row, padding], mask[row, padding] = pad, 0
    known = {"input_ids": tokens, "attention_mask": mask}
    if side == "left" and name != "opt":  # which counts its positions itself
        known["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        wanted = theirs(**known).logits
        scores = ours(tokens, attention_mask=mask)
    assert scores.shape == (3, 1) and wanted.std() > 0.01
    torch.testing.assert_close(scores, wanted, atol=1e-4, rtol=0)
    ours.save_hub(tmp_path / "back")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "back").eval()
    assert type(again) is type(theirs) and again.config.num_labels == 1
    with torch.no_grad():
        torch.testing.assert_close(again(**known).logits, wanted, atol=1e-4, rtol=0)
    assert sepiola.load(tmp_path / "back").spec.classifier == ours.spec.classifier


def test_the_last_token_is_told_by_the_mask_even_where_it_is_the_pad(tmp_path: Path) -> None:
    reference("llama", pad=END).save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    alone = torch.tensor([[5, 6, END]])
    padded, mask = torch.tensor([[5, 6, END, END, END]]), torch.tensor([[1, 1, 1, 0, 0]])
    with torch.no_grad():
        torch.testing.assert_close(ours(padded, attention_mask=mask), ours(alone))


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_several_numbers_at_once_are_refused(kind: str, tmp_path: Path) -> None:
    reference("gpt2", labels=3, problem_type=kind).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=f"problem_type '{kind}' over 3 labels is not supported"):
        sepiola.load(tmp_path)


def test_one_label_under_regression_is_the_score(tmp_path: Path) -> None:
    reference("qwen2", problem_type="regression").save_pretrained(tmp_path)
    spec = sepiola.load(tmp_path).spec.classifier
    assert spec is not None and spec.kind == "reward" and spec.labels == ()


def test_bert_is_refused_by_name(tmp_path: Path) -> None:
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    reference("bert", **sizes).save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"BertForSequenceClassification is not supported.*a pooler's dense layer"
    ):
        sepiola.load(tmp_path)


def test_a_head_that_is_missing_or_has_a_bias_is_said(tmp_path: Path) -> None:
    reference("llama").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    save_file({**state, "score.bias": torch.zeros(1)}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"unexpected tensor classifier\.bias \(1,\)"):
        sepiola.load(tmp_path)
    del state["score.weight"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing tensor classifier\.weight \(1, 24\)"):
        sepiola.load(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == {"0": "LABEL_0"}


@pytest.mark.parametrize("name", [name for name in HUB if name != "gemma3_text"])
def test_labels_go_in_and_out(name: str, tmp_path: Path) -> None:
    names = {0: "财经", 1: "体育", 2: "sport"}
    theirs = reference(name, labels=3, id2label=names)
    theirs.save_pretrained(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    assert ours.spec.classifier is not None and ours.spec.classifier.labels == tuple(names.values())
    tokens, mask = torch.randint(4, 80, (3, 11)), torch.ones(3, 11, dtype=torch.long)
    for row, length in enumerate((11, 6, 1)):
        tokens[row, length:], mask[row, length:] = theirs.config.pad_token_id, 0
    with torch.no_grad():
        wanted = theirs(input_ids=tokens, attention_mask=mask).logits
        assert wanted.std() > 0.1
        torch.testing.assert_close(ours(tokens, attention_mask=mask), wanted, atol=1e-4, rtol=0)
    ours.save_hub(tmp_path / "back")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "back").eval()
    assert again.config.id2label == names
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=tokens, attention_mask=mask).logits, wanted, atol=1e-4, rtol=0)


def test_what_the_hub_has_no_place_for_is_said(tmp_path: Path) -> None:
    tokens = {"start": 30, "delimiter": 31, "extract": 32}
    head = {"kind": "similarity", "labels": ("a", "b"), "tokens": tokens}
    spec = ModelSpec.parse({"family": "gpt2", "language": tiny.decoder(33), "classifier": head})
    with pytest.raises(CheckpointError, match=r"this one is of similarity, on 'gpt2': save it with save\(\)"):
        sepiola.Model(build(spec), spec).save_hub(tmp_path)


def test_the_hub_has_no_place_for_the_mean_of_states(tmp_path: Path) -> None:
    tokens = {"start": 30, "delimiter": 31, "extract": 32}
    head = {"kind": "classification", "labels": ("a", "b"), "tokens": tokens, "pooling": "mean"}
    spec = ModelSpec.parse({"family": "gpt2", "language": tiny.decoder(33), "classifier": head})
    model = sepiola.Model(build(spec), spec)
    with pytest.raises(CheckpointError, match=r"this one reads the mean of all: save it with save\(\)"):
        model.save_hub(tmp_path / "hub")
    model.save(tmp_path / "own")
    assert sepiola.load(tmp_path / "own").spec.classifier == spec.classifier


@pytest.mark.parametrize("pad", [1, END])
def test_a_padding_token_that_ends_texts_is_said(pad: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a text that ends with it `transformers` reads the token before."""
    theirs = reference("llama", pad)
    theirs.save_pretrained(tmp_path / "hub")
    sepiola.load(tmp_path / "hub").save_hub(tmp_path / "back")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "back").eval()
    with torch.no_grad():
        ended = again(input_ids=torch.tensor([[5, 6, END]])).logits
        whole = torch.allclose(ended, again(input_ids=torch.tensor([[5, 6]])).logits)
    assert whole == (pad == END) == (f"token {END} pads rows and ends texts" in caplog.text)
