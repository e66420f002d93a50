"""An export asks, looks and stops in `transformers` as the original folder did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    LlamaForCausalLM,
)

import sepiola
from sepiola.data.image import ImageRef
from tests.checkpoints.test_processor import END, TURN_END, chain, edit
from tests.hub_folders import PROCESSED, TEMPLATE, vision_language_folder, write_tokenizer

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 52, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", PROCESSED)
def test_a_vision_language_model_leaves_whole(tmp_path: Path, name: str) -> None:
    there, out = tmp_path / "there", tmp_path / "out"
    chats = name in ("llava", "smolvlm")
    vision_language_folder(there, name, TEMPLATE if chats else None)
    edit(there, "generation_config.json", eos_token_id=[1, 261], pad_token_id=0)
    model = sepiola.load(there)
    model.save(tmp_path / "ours")
    sepiola.load(tmp_path / "ours").save_hub(out)
    text = "" if chats else "What? 是"
    given: list[Any] = []
    written = []
    for folder in (there, out):
        processor = AutoProcessor.from_pretrained(folder, use_fast=False)
        if chats:
            parts = [{"type": "image"}, {"type": "text", "text": "What? 什么？"}]
            talk = [{"role": "user", "content": parts}]
            text = processor.apply_chat_template(talk, add_generation_prompt=True)
            assert AutoTokenizer.from_pretrained(folder).chat_template == TEMPLATE
        given.append(processor(images=PICTURE, text=text, return_tensors="pt"))
        network = AutoModelForImageTextToText.from_pretrained(folder).eval()
        assert network.generation_config.eos_token_id == [1, 261]
        with torch.no_grad():
            written.append(network.generate(**given[-1], max_new_tokens=5, do_sample=False).tolist())
    ours, theirs = given
    assert ours.keys() == theirs.keys() and "pixel_values" in ours
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], atol=1 / 255, rtol=0)
    assert written[0] == written[1]
    if not chats:
        assert written[0] != [] and theirs["input_ids"][0].tolist().count(259) == 7


def test_end_tokens_templates_and_settings_leave_with_the_model(tmp_path: Path) -> None:
    there, out = tmp_path / "there", tmp_path / "out"
    chain(there, 10, 11, 12, TURN_END, 13, END)
    settings = {"eos_token_id": [END, TURN_END], "num_beams": 2, "max_new_tokens": 9, "pad_token_id": 0}
    edit(there, "generation_config.json", **settings)
    edit(there, "tokenizer_config.json", model_max_length=77, extra_special_tokens={"image_token": "<image>"})
    edit(there, "tokenizer_config.json", chat_template=[{"name": n, "template": n} for n in ("default", "tool_use")])
    sepiola.load(there).save_hub(out)
    kept = json.loads((out / "generation_config.json").read_text(encoding="utf-8"))
    assert kept.items() >= settings.items()
    again, tokenizer = LlamaForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    with torch.no_grad():
        ids = again.generate(torch.tensor([[10]]), num_beams=1, do_sample=False)[0].tolist()
    assert ids == [10, 11, 12, TURN_END]
    assert (tokenizer.model_max_length, tokenizer.image_token) == (77, "<image>")
    assert tokenizer.chat_template == {"default": "default", "tool_use": "tool_use"}
    (there / "tokenizer_config.json").unlink()  # what an older export left does not stay
    sepiola.load(there).save_hub(out)
    assert not (out / "chat_template.jinja").exists() and not list(out.glob("additional_chat_templates/*"))


def test_ids_that_were_null_stay_null(tmp_path: Path) -> None:
    chain(tmp_path / "there", 10, 11)
    for file in ("config.json", "generation_config.json"):
        edit(tmp_path / "there", file, eos_token_id=None, bos_token_id=None, pad_token_id=None)
    (tmp_path / "there" / "tokenizer_config.json").unlink()
    sepiola.load(tmp_path / "there").save_hub(tmp_path / "out")
    for file in ("config.json", "generation_config.json"):
        raw = json.loads((tmp_path / "out" / file).read_text(encoding="utf-8"))
        assert [raw[f"{name}_token_id"] for name in ("eos", "bos", "pad")] == [None, None, None]


def test_settings_of_writing_count_as_in_transformers(tmp_path: Path) -> None:
    theirs = chain(tmp_path, 10, 11, END, 12, 10)
    for settings in (
        {"min_new_tokens": 3},
        {"min_length": 3},
        {"repetition_penalty": 1.5},
        {"no_repeat_ngram_size": 1},
        {"forced_eos_token_id": 5, "max_new_tokens": 2},
        {"max_length": 2},
    ):
        edit(tmp_path, "generation_config.json", eos_token_id=END, **settings)
        theirs = LlamaForCausalLM.from_pretrained(tmp_path)
        limit = {} if {"max_length", "max_new_tokens"} & settings.keys() else {"max_new_tokens": 6}
        with torch.no_grad():
            ids = theirs.generate(torch.tensor([[10]]), do_sample=False, **limit)[0, 1:].tolist()
        ours = sepiola.load(tmp_path).generate(torch.tensor([[10]]), max_tokens=limit.get("max_new_tokens"))
        assert ours.tolist() == [ids[: ids.index(END)] if END in ids else ids], settings
        edit(tmp_path, "generation_config.json", **dict.fromkeys(settings, ...))


def test_a_tokenizer_that_is_a_list_of_words_leaves_with_its_class_and_its_tokens(tmp_path: Path) -> None:
    there, out = tmp_path / "there", tmp_path / "out"
    words = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "squid", "##s", "乌", "贼"]
    config = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    BertForMaskedLM(config).save_pretrained(there)
    (there / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    model = sepiola.load(there)
    model.save(tmp_path / "ours")
    sepiola.load(tmp_path / "ours").save_hub(out)
    original, again = (AutoTokenizer.from_pretrained(folder) for folder in (there, out))
    assert again.special_tokens_map == original.special_tokens_map and again.eos_token is None
    for text in ("squids [MASK] 乌贼", "", "unknown"):
        assert again(text).input_ids == original(text).input_ids


def test_an_image_token_that_the_config_does_not_name_is_the_tokenizers(tmp_path: Path) -> None:
    there, out = tmp_path / "there", tmp_path / "out"
    for own in (True, False):
        vision_language_folder(there, "blip-2 opt")
        edit(there, "config.json", image_token_index=None, image_token_id=None)
        if not own:  # then the processor sets one behind the others
            write_tokenizer(there, "</s>", None, eos_token="</s>", pad_token="<pad>")
        model = sepiola.load(there)
        model.save_hub(out)
        text = "What? 是"
        wanted, again = (
            AutoProcessor.from_pretrained(folder)(images=PICTURE, text=text, return_tensors="pt")
            for folder in (there, out)
        )
        ids = wanted["input_ids"][0].tolist()
        assert list(model._prompts.prompt(text, [ImageRef.of(PICTURE)]).tokens) == ids
        assert again["input_ids"][0].tolist() == ids
        network = AutoModelForImageTextToText.from_pretrained(out).eval()
        assert network.config.image_token_id == ids[0] == 259
        with torch.no_grad():
            written = network.generate(**again, max_new_tokens=4, do_sample=False)[0, len(ids) :]
        kept = [token for token in written.tolist() if token != 1]
        assert model.generate(text, images=[PICTURE], max_tokens=4) == model.tokenizer.decode(kept)
