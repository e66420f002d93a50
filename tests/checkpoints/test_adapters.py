"""Adapters against peft over `transformers`: theirs load here, ours load there, to the same logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer

import sepiola
from sepiola.checkpoints import adapters
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.training import lora
from tests.checkpoints.adapted import FAMILIES, compare, reference, taught
from tests.hub_folders import TEMPLATE, language_folder, vision_language_folder
from tests.tiny import llama as llama_spec
from tests.tiny import noise_picture
from tests.trainers import stage_of

peft = pytest.importorskip("peft")

THEIRS = {"gpt2": ["c_attn", "c_proj"], "t5": ["q", "v", "wi_0", "wo"], "bart": ["q_proj", "v_proj", "fc2"]}
"""The Hub's names of what an adapter lies on, where they are not LLaMA's."""
OURS = {"mixtral": ["q_proj", "o_proj"], "gpt2": ["qkv.q", "qkv.v", "down"], "t5": ["q", "v", "wi_0"]}


@pytest.fixture(params=["llama", "qwen2", "gpt2", "t5", "bart", "llava", "smolvlm"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"rank_pattern": 1, "alpha_pattern": 1}])
def test_an_adapter_of_peft_is_merged(family: str, options: dict[str, Any], tmp_path: Path) -> None:
    theirs = reference(family, tmp_path / "base")
    targets = THEIRS.get(family, ["q_proj", "v_proj", "gate_proj", "down_proj"])
    patterns = {
        key: {targets[0]: 2, rf"layers?\.1\..*{targets[1]}": 5} if value == 1 else value
        for key, value in options.items()
    }
    before = compare(sepiola.load(tmp_path / "base"), theirs, family)
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=targets, **patterns)
    adapted = taught(peft.get_peft_model(theirs, config)).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    ours = sepiola.load(tmp_path / "base", adapter=tmp_path / "adapter")
    assert (compare(ours, adapted, family) - before).abs().max() > 0.1
    ours.save(tmp_path / "merged")
    compare(sepiola.load(tmp_path / "merged"), adapted, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_of_ours_loads_in_peft(family: str, tmp_path: Path) -> None:
    theirs = reference(family, tmp_path / "base")
    ours = sepiola.load(tmp_path / "base")
    before = compare(ours, theirs, family)
    targets = OURS.get(family, ["q_proj", "v_proj", "down"])
    stage = stage_of(batch=1, steps=1, learn=["language"], lora={"rank": 2, "targets": targets})
    adapter = lora.attach(ours.network.requires_grad_(False), stage, seed=0)
    taught(ours.network)
    adapters.write(tmp_path / "adapter", adapter.updates(), ours.spec, base="base")
    names = load_file(tmp_path / "adapter" / adapters.WEIGHTS)
    assert all(not name.endswith(("qkv.lora_A.weight", "k_proj.lora_A.weight")) for name in names)
    adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    assert (compare(ours, adapted, family) - before).abs().max() > 0.1
    touched = {name for name, module in adapted.named_modules() if name.endswith("lora_A") and "vision" in name}
    assert not touched
    compare(sepiola.load(tmp_path / "base", adapter=tmp_path / "adapter"), adapted, family)
    adapter.merge()
    compare(ours, adapted, family)


def test_some_layers_alone(tmp_path: Path) -> None:
    theirs = reference("llama", tmp_path / "base")
    ours = sepiola.load(tmp_path / "base")
    targets = {"targets": ["layers.1.attention.qkv.k"]}
    stage = stage_of(batch=1, steps=1, learn=["language"], lora=targets)
    adapter = lora.attach(ours.network, stage, 0)
    size = sum(p.numel() for p in ours.network.parameters() if p.requires_grad)
    taught(ours.network)
    adapters.write(tmp_path / "adapter", adapter.updates(), ours.spec)
    config = json.loads((tmp_path / "adapter" / adapters.CONFIG).read_text())
    assert config["target_modules"] == ["model.layers.1.self_attn.k_proj"]
    adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    assert size == sum(p.numel() for name, p in adapted.named_parameters() if "lora_" in name)
    compare(ours, adapted, "llama")


def test_a_model_without_a_layout_keeps_our_names(tmp_path: Path) -> None:
    spec = ModelSpec.parse({"language": llama_spec(layers=1)})
    network = build(spec)
    adapter = lora.attach(network, stage_of(batch=1, steps=1, learn=["language"], lora={"targets": ["v", "down"]}), 0)
    taught(network)
    adapters.write(tmp_path, adapter.updates(), spec)
    assert {name.split(".lora_")[0] for name in load_file(tmp_path / adapters.WEIGHTS)} == {
        "base_model.model.decoder.layers.0.attention.qkv.v",
        "base_model.model.decoder.layers.0.feed_forward.down",
    }
    tokens = torch.arange(2, 26).view(2, 12)
    again = adapters.load(build(spec), tmp_path, spec)[0].eval()
    torch.testing.assert_close(again(tokens), network.eval()(tokens), atol=1e-5, rtol=0)


def test_a_folder_of_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name: str) -> Path:
        asked.append(name)
        return tmp_path

    monkeypatch.setattr(adapters.hub, "fetch", fetch)
    (tmp_path / "checkpoint-5").mkdir()
    (tmp_path / "checkpoint-5" / "adapter_config.json").touch()
    for named in ("user/squid", "user/squid/checkpoint-5"):
        assert adapters.find(named) == tmp_path / "checkpoint-5"
    assert adapters.find("user/squid/other") == tmp_path / "other"
    assert asked == ["user/squid"] * 3


def test_the_tokens_that_an_adapter_adds_are_read_by_its_tokenizer(tmp_path: Path) -> None:
    """As trainers leave it: more embeddings, a tokenizer with more tokens and a template in the adapter's folder."""
    base = tmp_path / "base"
    language_folder(base, "qwen")
    theirs, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<turn>", "<鱿鱼>"], special_tokens=True)
    tokenizer.chat_template = "{% for m in messages %}<turn>{{ m.content }}{% endfor %}<鱿鱼>"
    theirs.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["embed_tokens", "lm_head"])
    adapted = taught(peft.get_peft_model(theirs, config)).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    ours = sepiola.load(tmp_path / "adapter")
    messages = [{"role": "user", "content": "What? 什么"}]
    ids = tokenizer.apply_chat_template(messages, return_dict=True, return_tensors="pt")["input_ids"]
    assert ours.template is not None and ours.tokenizer is not None
    text = ours.template.render(messages, add_generation_prompt=True)
    assert ours.tokenizer.encode(text) == ids[0].tolist()
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), adapted(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    ours.save_hub(tmp_path / "hub")
    back = AutoTokenizer.from_pretrained(tmp_path / "hub")
    assert back.apply_chat_template(messages, return_dict=True)["input_ids"] == ids[0].tolist()
    assert ours.chat(messages, max_tokens=3).tokens > 0


@pytest.mark.parametrize("shape", ["llava", "smolvlm"])
def test_a_vision_language_model_with_an_adapter_and_its_processor_chats(shape: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    theirs = vision_language_folder(base, shape, TEMPLATE)
    adapted = taught(peft.get_peft_model(theirs, peft.LoraConfig(r=2, target_modules="all-linear")))
    adapted.save_pretrained(tmp_path / "adapter")
    plain = sepiola.load(base, adapter=tmp_path / "adapter")
    AutoProcessor.from_pretrained(base).save_pretrained(tmp_path / "adapter")
    ours = sepiola.load(base, adapter=tmp_path / "adapter")
    picture = noise_picture(1)
    messages = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "鱿鱼?"}]}]
    said = [model.chat(messages, max_tokens=6) for model in (ours, plain)]
    assert said[0].prompt_tokens == said[1].prompt_tokens and said[0].text == said[1].text
    ours.save_hub(tmp_path / "hub")
    again = sepiola.load(tmp_path / "hub").chat(messages, max_tokens=6)
    assert (again.prompt_tokens, again.text) == (said[0].prompt_tokens, said[0].text)
