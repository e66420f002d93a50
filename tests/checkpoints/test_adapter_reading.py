"""What peft writes beside matrices of low rank, against peft over `transformers`; and what people's files hold."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

import sepiola
from sepiola.checkpoints import adapters
from sepiola.errors import CheckpointError
from tests.checkpoints.adapted import FAMILIES, LOADERS, compare, given, reference, taught

peft = pytest.importorskip("peft")

QV = ["q_proj", "v_proj"]
EMBEDDINGS = ["embed_tokens", "lm_head"]
BESIDE: list[tuple[str, dict[str, Any], bool | None]] = [
    ("llama", {"target_modules": QV, "modules_to_save": EMBEDDINGS}, None),
    ("llama", {"target_modules": QV, "modules_to_save": ["norm", "input_layernorm"]}, None),
    ("llama", {"target_modules": QV, "use_dora": True, "use_rslora": True, "rank_pattern": {"v_proj": 2}}, None),
    ("llama", {"target_modules": EMBEDDINGS, "use_dora": True}, None),
    ("llama", {"target_modules": QV, "trainable_token_indices": [3, 5]}, None),
    ("llama", {"target_modules": QV, "trainable_token_indices": {"embed_tokens": [3, 5], "lm_head": [6, 4]}}, None),
    ("llama", {"target_modules": QV, "layers_to_transform": [1]}, None),
    ("llama", {"target_modules": r".*layers\.1\..*(q|up)_proj"}, None),
    ("tied", {"target_modules": QV}, True),
    ("tied", {"target_modules": QV, "modules_to_save": ["embed_tokens"]}, False),
    ("tied", {"target_modules": QV, "modules_to_save": ["lm_head"]}, False),
    ("tied", {"target_modules": ["embed_tokens", "q_proj"]}, False),
    ("tied", {"target_modules": EMBEDDINGS}, False),
    ("tied", {"target_modules": ["embed_tokens"], "ensure_weight_tying": True}, True),
    ("tied", {"target_modules": QV, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}, True),
    ("tied", {"target_modules": QV, "trainable_token_indices": [3, 5]}, True),
    ("tied", {"target_modules": QV, "trainable_token_indices": {"embed_tokens": [3], "lm_head": [4]}}, False),
    ("qwen2", {"target_modules": QV, "bias": "all"}, None),
    ("qwen3", {"target_modules": "all-linear", "exclude_modules": ["q_proj"]}, None),
    ("gemma3_text", {"target_modules": ["embed_tokens", "o_proj"], "modules_to_save": ["norm"]}, False),
    ("mixtral", {"target_modules": QV, "modules_to_save": ["norm", "lm_head"]}, None),
    ("gpt2", {"target_modules": ["c_attn", "c_fc"], "bias": "lora_only"}, True),
    ("gpt2", {"target_modules": ["c_attn"], "modules_to_save": ["wte", "lm_head", "c_fc"], "use_dora": True}, False),
    ("t5", {"target_modules": "all-linear", "use_dora": True}, True),
    ("t5", {"target_modules": ["q"], "modules_to_save": ["lm_head"]}, False),
    ("t5", {"target_modules": ["q"], "trainable_token_indices": [3, 5]}, True),
    ("t5", {"target_modules": ["q"], "modules_to_save": ["embed_tokens"]}, False),
    ("t5", {"target_modules": ["embed_tokens", "lm_head"]}, False),
    ("bart", {"target_modules": ["fc2", "embed_tokens"]}, False),
    ("bart", {"target_modules": QV, "bias": "all"}, True),
    ("bart", {"target_modules": QV, "modules_to_save": ["lm_head"]}, False),
    ("llava", {"target_modules": "all-linear", "modules_to_save": ["multi_modal_projector"]}, None),
    ("llava", {"target_modules": [*QV, "lm_head", "linear_1"], "bias": "all"}, None),
    ("llava", {"target_modules": r".*language_model.*(q|v)_proj", "modules_to_save": EMBEDDINGS}, None),
    ("llava", {"target_modules": ["o_proj"], "modules_to_save": ["vision_tower"]}, None),
    ("smolvlm", {"target_modules": QV, "modules_to_save": ["connector", *EMBEDDINGS]}, None),
    ("smolvlm", {"target_modules": ["proj", "fc1", "o_proj"], "use_dora": True}, None),
    ("blip-2", {"target_modules": "all-linear", "bias": "lora_only"}, True),
    ("blip-2", {"target_modules": ["query", "qkv"], "modules_to_save": ["language_projection", "query_tokens"]}, True),
]
"""A family, what its adapter is, and whether the head is tied then (None where it is not before)."""


def shown(case: object) -> str | None:
    return "-".join(f"{key}" for key in case) if isinstance(case, dict) else None


@pytest.mark.parametrize(("family", "options", "tied"), BESIDE, ids=shown)
def test_an_adapter_gives_pefts_logits(family: str, options: dict[str, Any], tied: bool | None, tmp_path: Path) -> None:
    theirs = reference(family, tmp_path / "base")
    before = compare(sepiola.load(tmp_path / "base"), theirs, family)
    adapted = taught(peft.get_peft_model(theirs, peft.LoraConfig(r=3, lora_alpha=7, **options))).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    ours = sepiola.load(tmp_path / "base", adapter=tmp_path / "adapter")
    after = compare(ours, adapted, family)
    assert (after - before).abs().max() > 0.05
    assert ours.spec.language is not None and ours.spec.language.tied is bool(tied)
    ours.save(tmp_path / "merged")
    compare(sepiola.load(tmp_path / "merged"), adapted, family)
    ours.save_hub(tmp_path / "hub")
    back = LOADERS.get(family, AutoModelForCausalLM).from_pretrained(tmp_path / "hub").eval()
    with torch.no_grad():
        torch.testing.assert_close(back(**given(family)).logits, after, atol=1e-4, rtol=1e-4)


def adapter_of(folder: Path, family: str = "llama", **options: Any) -> Any:
    """An adapter of peft in `adapter`, on a model in `base`."""
    theirs = reference(family, folder / "base")
    config = peft.LoraConfig(**{"r": 2, "target_modules": ["q_proj"], **options})
    adapted = taught(peft.get_peft_model(theirs, config)).eval()
    adapted.save_pretrained(folder / "adapter")
    return adapted


def load(folder: Path) -> sepiola.Model:
    return sepiola.load(folder / "base", adapter=folder / "adapter")


def rewrite(folder: Path, change: Callable[[str], str | None], **config: Any) -> None:
    """The adapter's tensors under other names, those without one left out; and changes to its config."""
    file, settings = folder / "adapter" / "adapter_model.safetensors", folder / "adapter" / "adapter_config.json"
    save_file({new: value for name, value in load_file(file).items() if (new := change(name))}, file)
    settings.write_text(json.dumps(json.loads(settings.read_text()) | config))


@pytest.mark.parametrize("labels", [1, 3])
def test_a_classifiers_layer_makes_one_of_a_language_model(labels: int, tmp_path: Path) -> None:
    reference("llama", tmp_path / "base")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=labels)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=QV)
    adapted = taught(peft.get_peft_model(theirs, config)).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    tokens = given("llama")["input_ids"]
    ours = load(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), adapted(input_ids=tokens).logits, atol=1e-4, rtol=1e-4)
    ours.save_hub(tmp_path / "hub")
    back = AutoModelForSequenceClassification.from_pretrained(tmp_path / "hub").eval()
    with torch.no_grad():
        torch.testing.assert_close(back(input_ids=tokens).logits, ours(tokens), atol=1e-4, rtol=1e-4)
    again = sepiola.load(tmp_path / "hub", adapter=tmp_path / "adapter")  # a base that is a classifier already
    assert again.spec.labels == ours.spec.labels


@pytest.mark.parametrize("family", ["llama", "tied"])
@pytest.mark.parametrize("tokens", [70, 50])
@pytest.mark.parametrize("targets", [QV, ["q_proj", "embed_tokens", "lm_head"]])
def test_embeddings_of_another_number_of_tokens(
    family: str, tokens: int, targets: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = reference(family, tmp_path / "base")
    theirs.resize_token_embeddings(tokens)
    with torch.no_grad():
        theirs.get_input_embeddings().weight.normal_(0.0, 0.3)
    adapted = taught(peft.get_peft_model(theirs, peft.LoraConfig(r=2, target_modules=targets))).eval()
    adapted.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    ours = load(tmp_path)
    compare(ours, adapted, family)
    assert f"has embeddings of {tokens} tokens, where the model has 61" in caplog.text
    assert ours.spec.language is not None and ours.spec.language.tied is (family == "tied" and targets == QV)
    ours.save(tmp_path / "merged")
    compare(sepiola.load(tmp_path / "merged"), adapted, family)
    rewrite(tmp_path, lambda name: None if "lm_head" in name else name)
    if family == "llama":
        with pytest.raises(CheckpointError, match=r"does not bring 'head\.projection\.weight'.*save_embedding_layers"):
            load(tmp_path)


@pytest.mark.parametrize(
    "renamed",
    [
        lambda name: name.removeprefix("base_model.model."),
        lambda name: name.replace(".weight", ".default.weight") if "lora_" in name else name,
        lambda name: name.replace("lm_head.weight", "lm_head.modules_to_save.default.weight"),
        lambda name: name.replace("embed_tokens.weight", "embed_tokens.base_layer.weight"),
        lambda name: name.replace("model.model.layers", "model.layers"),
    ],
    ids=["bare", "named", "wrapped", "base-layer", "another-version"],
)
def test_names_of_other_versions(renamed: Callable[[str], str], tmp_path: Path) -> None:
    adapted = adapter_of(tmp_path, modules_to_save=["embed_tokens", "lm_head"])
    before = sorted(load_file(tmp_path / "adapter" / "adapter_model.safetensors"))
    rewrite(tmp_path, renamed)
    assert sorted(load_file(tmp_path / "adapter" / "adapter_model.safetensors")) != before
    compare(load(tmp_path), adapted, "llama")


@pytest.mark.parametrize("head", ["lm_head", "language_model.lm_head"])
def test_the_names_of_a_vision_language_model_before_and_since_version_4_52(head: str, tmp_path: Path) -> None:
    adapted = adapter_of(tmp_path, "llava", target_modules=["q_proj", "lm_head"])
    older = {
        "base_model.model.model.language_model.": "base_model.model.language_model.model.",
        "base_model.model.model.": "base_model.model.",
        "base_model.model.lm_head.": f"base_model.model.{head}.",
    }

    def then(name: str) -> str:
        return next((name.replace(new, old) for new, old in older.items() if name.startswith(new)), name)

    rewrite(tmp_path, then)
    compare(load(tmp_path), adapted, "llava")


def test_an_adapter_in_the_file_of_old_versions(tmp_path: Path) -> None:
    """`adapter_model.bin`, with the adapter's name in those of its tensors."""
    adapted = adapter_of(tmp_path, target_modules=["q_proj", "down_proj"])
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = {name.replace(".weight", ".default.weight"): tensor for name, tensor in load_file(file).items()}
    torch.save(tensors, tmp_path / "adapter" / "adapter_model.bin")
    file.unlink()
    compare(load(tmp_path), adapted, "llama")


def test_experts_that_are_named_one_by_one(tmp_path: Path) -> None:
    """As peft before 0.18 over `transformers` 4 wrote them, and the router."""
    reference("mixtral", tmp_path / "base")
    base = load_file(tmp_path / "base" / "model.safetensors")
    tensors: dict[str, Tensor] = {}
    torch.manual_seed(2)
    for part in ("experts.1.w1", "experts.3.w2", "gate"):
        name = f"model.layers.1.block_sparse_moe.{part}"
        a, b = torch.randn(2, base[f"{name}.weight"].shape[1]), torch.randn(base[f"{name}.weight"].shape[0], 2)
        base[f"{name}.weight"] += 2 * b @ a
        tensors |= {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
    (tmp_path / "adapter").mkdir()
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 4}')
    ours = load(tmp_path)
    save_file(base, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    tokens = given("mixtral")["input_ids"]
    torch.testing.assert_close(ours(tokens), sepiola.load(tmp_path / "base")(tokens), atol=1e-4, rtol=1e-4)


def test_a_base_in_bfloat16_is_rounded_once(tmp_path: Path) -> None:
    adapter_of(tmp_path)
    rounded = sepiola.load(tmp_path / "base", adapter=tmp_path / "adapter", dtype=torch.bfloat16)
    base = sepiola.load(tmp_path / "base", dtype=torch.bfloat16).network.float()
    exact = adapters.load(base, tmp_path / "adapter", rounded.spec)[0]
    for name, value in rounded.network.state_dict().items():
        assert torch.equal(value, exact.state_dict()[name].bfloat16()), name


def test_keys_that_are_not_known_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    adapted = adapter_of(tmp_path)
    rewrite(tmp_path, str, use_novelty=True, unused_novelty=None)
    with caplog.at_level(logging.WARNING):
        compare(load(tmp_path), adapted, "llama")
    assert "keys that are not known, and not honoured: use_novelty" in caplog.text and "unused" not in caplog.text


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("llama", {"init_lora_weights": "pissa"}, "init_lora_weights: 'pissa'.*merge_and_unload"),
        ("qwen2", {"lora_bias": True}, "asks for lora_bias"),
        ("mixtral", {"target_modules": "all-linear"}, "target_parameters .matrices on a mixture's experts"),
        ("t5", {"modules_to_save": ["embed_tokens", "shared"], "target_modules": ["q"]}, "apart that are one here"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    family: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    adapter_of(tmp_path, family, **options)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_fused_experts_are_refused_without_a_word_in_the_config(tmp_path: Path) -> None:
    adapter_of(tmp_path, "mixtral", target_parameters=["mlp.experts.gate_up_proj"])
    rewrite(tmp_path, str, target_parameters=None)
    with pytest.raises(CheckpointError, match=r"lies on a mixture's experts \(model\.layers\.0\.mlp\.experts\)"):
        load(tmp_path)


def test_another_base_is_one_message_that_names_both(tmp_path: Path) -> None:
    adapter_of(tmp_path)
    rewrite(tmp_path, str, base_model_name_or_path="meta-llama/Llama-3.2-1B")
    narrow = {**FAMILIES["llama"], "hidden_size": 12, "head_dim": 2}
    for family, config, message in (
        ("llama", narrow, r"q_proj has matrices of \(2, 24\) and \(24, 2\), and is \(12, 12\) here"),
        ("gpt2", FAMILIES["gpt2"], r"was made for another model; 2 of its modules have no counterpart, as model\."),
    ):
        AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**config)).save_pretrained(tmp_path / family)
        with pytest.raises(
            CheckpointError, match=rf"\(made for 'meta-llama/Llama-3.2-1B', loaded onto '.*/{family}'\).*{message}"
        ):
            sepiola.load(tmp_path / family, adapter=tmp_path / "adapter")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "an adapter of type 'IA3'; 'LORA' is supported"),
        ({"peft_type": None}, "an adapter of type None"),
        ({"r": 3}, "has rank 2, and r or rank_pattern says 3"),
        ({"rank_pattern": {"q_proj": 4}}, "has rank 2, and r or rank_pattern says 4"),
        ({"r": "8"}, "r is '8'; expected a positive number"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan; expected a positive number"),
        ({"use_dora": True}, "lacks a lora_magnitude_vector, and use_dora is true"),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern is .*; expected numbers by the names of modules"),
        ({"rank_pattern": {"(q": 2}}, "expected an expression for modules' names"),
        ({"rank_pattern": {r"(\w+)+!": 2}}, "expected an expression of 3 quantifiers at most, none on a group"),
        ({"modules_to_save": "lm_head"}, "modules_to_save is 'lm_head'; expected names of modules"),
    ],
)
def test_a_config_that_cannot_be_is_one_message(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    adapter_of(tmp_path)
    rewrite(tmp_path, str, **config)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_a_damaged_file_is_one_message(tmp_path: Path) -> None:
    adapter_of(tmp_path, trainable_token_indices=[3, 60])
    with pytest.raises(CheckpointError, match="for 1 trainable_token_indices up to 3"):
        rewrite(tmp_path, str, trainable_token_indices=[3])
        load(tmp_path)
    with pytest.raises(CheckpointError, match="for 2 trainable_token_indices up to 61"):
        rewrite(tmp_path, str, trainable_token_indices=[3, 61])
        load(tmp_path)
    rewrite(tmp_path, str, trainable_token_indices=[3, 60])
    with pytest.raises(CheckpointError, match=r"holds several adapters"):
        rewrite(
            tmp_path,
            lambda name: name.replace("layers.1.self_attn.q_proj.lora_A", "layers.0.self_attn.q_proj.lora_A.second"),
        )
        load(tmp_path)


def test_values_that_are_no_numbers_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    adapter_of(tmp_path)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    name = min(tensors)
    save_file({**tensors, name: torch.full_like(tensors[name], torch.nan)}, file)
    load(tmp_path)
    assert f"1 tensors hold values that are no numbers (NaN or infinite): ['{name}']" in caplog.text
    save_file({**tensors, name: tensors[name].to(torch.int8)}, file)
    with pytest.raises(CheckpointError, match=r"lora_A\.weight as torch\.int8; expected floating-point numbers"):
        load(tmp_path)


def test_what_llavas_own_code_wrote_is_refused(tmp_path: Path) -> None:
    adapter_of(tmp_path)
    (tmp_path / "adapter" / "non_lora_trainables.bin").touch()
    with pytest.raises(CheckpointError, match=r"has weights beside it \(non_lora_trainables\.bin\)"):
        load(tmp_path)


@pytest.mark.parametrize("quantised", [False, True])
def test_an_adapter_whose_base_was_quantised_goes_on_the_plain_one(quantised: bool, tmp_path: Path) -> None:
    """As QLoRA's do: the config names the quantised weights, and the plain ones are given."""
    adapted = adapter_of(tmp_path)
    shutil.copytree(tmp_path / "base", tmp_path / "4bit")
    if quantised:
        file = tmp_path / "4bit" / "model.safetensors"
        save_file({**load_file(file), "model.layers.0.mlp.up_proj.weight.absmax": torch.ones(4)}, file)
    rewrite(tmp_path, str, base_model_name_or_path=str(tmp_path / "4bit"))
    if quantised:
        with pytest.raises(
            CheckpointError, match=r"quantised by (.|\n)*base that the adapter in .* names; for another"
        ):
            sepiola.load(tmp_path / "adapter")
    else:
        compare(sepiola.load(tmp_path / "adapter"), adapted, "llama")
    compare(load(tmp_path), adapted, "llama")


def test_a_vision_encoder_alone_takes_no_adapter(tmp_path: Path) -> None:
    adapter_of(tmp_path, "llava")
    for model, adapter in ((tmp_path / "base", tmp_path / "adapter"), (tmp_path / "adapter", None)):
        with pytest.raises(CheckpointError, match="an adapter is for the whole model"):
            sepiola.load(model, adapter=adapter, vision_only=True)
