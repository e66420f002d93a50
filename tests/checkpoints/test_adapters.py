"""Adapters against peft over `transformers`: theirs load here, ours load there, to the same logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
)

import sepiola
from sepiola.checkpoints import adapters
from sepiola.errors import CheckpointError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.training import lora
from tests.tiny import llama as llama_spec
from tests.trainers import stage_of

peft = pytest.importorskip("peft")

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
}
LOADERS = {"t5": AutoModelForSeq2SeqLM, "bart": AutoModelForSeq2SeqLM, "llava": AutoModelForImageTextToText}
THEIRS = {"gpt2": ["c_attn", "c_proj"], "t5": ["q", "v", "wi_0", "wo"], "bart": ["q_proj", "v_proj", "fc2"]}
"""The Hub's names of what an adapter lies on, where they are not LLaMA's."""
OURS = {"gpt2": ["qkv.q", "qkv.v", "down"], "t5": ["q", "v", "wi_0"]}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reference(family: str, folder: Path) -> Any:
    """A model of `transformers` with random weights, kept in `folder`."""
    torch.manual_seed(0)
    loader = LOADERS.get(family, AutoModelForCausalLM)
    model = loader.from_config(CONFIG_MAPPING[family](**FAMILIES[family])).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    model.save_pretrained(folder)
    return loader.from_pretrained(folder).eval()


def given(family: str) -> dict[str, Tensor]:
    tokens = torch.arange(4, 28).view(2, 12)
    if family == "llava":
        tokens[:, 1:5] = 60
        return {"input_ids": tokens, "pixel_values": torch.randn(2, 3, 16, 16, generator=torch.Generator())}
    return {"input_ids": tokens, **({"decoder_input_ids": tokens[:, :5]} if family in ("t5", "bart") else {})}


def compare(ours: sepiola.Model | Any, theirs: Any, family: str) -> Tensor:
    """The reference's logits, which ours are too."""
    inputs = given(family)
    with torch.no_grad():
        wanted: Tensor = theirs(**inputs).logits
        names = {"pixel_values": "images", "decoder_input_ids": "target"}
        source, *_ = inputs.values()
        mine = ours(source, **{names[name]: value for name, value in inputs.items() if name in names})
    torch.testing.assert_close(mine, wanted, atol=1e-4, rtol=1e-4)
    return wanted


def taught(model: Any) -> Any:
    """The model, its adapter's matrices drawn at random."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.2)
    return model


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


def test_an_adapter_of_ours_loads_in_peft(family: str, tmp_path: Path) -> None:
    theirs = reference(family, tmp_path / "base")
    ours = sepiola.load(tmp_path / "base")
    before = compare(ours, theirs, family)
    targets = OURS.get(family, ["q_proj", "v_proj", "down"])
    stage = stage_of(batch=1, steps=1, learn=["language"], lora={"rank": 2, "targets": targets})
    adapter = lora.attach(ours.network, stage, seed=0)
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
    size = lora.adapter_size(ours.network, stage)
    adapter = lora.attach(ours.network, stage, 0)
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
    again = adapters.load(build(spec), tmp_path, spec).eval()
    torch.testing.assert_close(again(tokens), network.eval()(tokens), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True}, "asks for use_dora, which"),
        ({"bias": "all"}, "asks for bias: all"),
        ({"modules_to_save": ["lm_head"]}, "asks for modules_to_save"),
        (
            {"target_modules": ["embed_tokens", "q_proj"]},
            "3 tensors that are not matrices of low rank.* as .*embed_tokens",
        ),
        ({"init_lora_weights": "pissa"}, "init_lora_weights: pissa"),
        ({"target_modules": ["lm_head"]}, "1 tensors that are not matrices of low rank.* as .*lm_head.base_layer"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    theirs = reference("llama", tmp_path / "base")
    adapted = taught(peft.get_peft_model(theirs, peft.LoraConfig(r=2, **{"target_modules": ["q_proj"], **options})))
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=message):
        sepiola.load(tmp_path / "base", adapter=tmp_path / "adapter")


def test_another_kind_of_adapter_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    theirs = reference("llama", tmp_path / "base")
    peft.get_peft_model(theirs, peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[])).save_pretrained(
        tmp_path / "other"
    )
    with pytest.raises(CheckpointError, match="an adapter of type IA3; LORA is supported"):
        sepiola.load(tmp_path / "base", adapter=tmp_path / "other")
    fresh = reference("llama", tmp_path / "base")
    peft.get_peft_model(fresh, peft.LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / adapters.WEIGHTS
    tensors = load_file(file)
    first = sorted(tensors)[0]
    save_file({name: tensor for name, tensor in tensors.items() if name != first}, file)
    with pytest.raises(CheckpointError, match=r"damaged; model\.layers\.0\.self_attn\.q_proj lacks one"):
        sepiola.load(tmp_path / "base", adapter=tmp_path / "adapter")


def test_an_adapter_in_the_file_of_old_versions(tmp_path: Path) -> None:
    """`adapter_model.bin`, with the adapter's name in those of its tensors."""
    theirs = reference("llama", tmp_path / "base")
    adapted = taught(peft.get_peft_model(theirs, peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / adapters.WEIGHTS
    tensors = {name.replace(".weight", ".default.weight"): tensor for name, tensor in load_file(file).items()}
    torch.save(tensors, tmp_path / "adapter" / adapters.PICKLED)
    file.unlink()
    compare(sepiola.load(tmp_path / "base", adapter=tmp_path / "adapter"), adapted, "llama")
