"""Files as people have published them: other names, further tensors, heads kept or left out; against `transformers`."""

from __future__ import annotations

import json
import logging
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
    AutoModelForImageTextToText,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
)

import sepiola
from sepiola.errors import CheckpointError
from tests.tiny import HUB_GPT, HUB_LLAMA, HUB_OPT, HUB_T5, HUB_VIT

State = dict[str, Tensor]

BERT = {**HUB_LLAMA, "num_attention_heads": 4, "max_position_embeddings": 40}
BART = {"vocab_size": 99, "d_model": 24, "max_position_embeddings": 40}
BART |= {f"{stack}_{key}": n for stack in ("encoder", "decoder") for key, n in (("layers", 2), ("ffn_dim", 40))}
BART |= {f"{stack}_attention_heads": 4 for stack in ("encoder", "decoder")}
TIED = {**HUB_LLAMA, "tie_word_embeddings": True}
IMAGE = 5
LLAVA = {
    "text_config": {**HUB_LLAMA, "model_type": "llama"},
    "vision_config": {**HUB_VIT, "model_type": "clip_vision_model"},
    "image_token_index": IMAGE,
}
IDEFICS = {"text_config": LLAVA["text_config"], "vision_config": HUB_VIT, "image_token_id": IMAGE}
SHAPES: dict[str, tuple[str, Any, Any]] = {
    "bert": ("bert", AutoModelForMaskedLM, BERT),
    "bart": ("bart", AutoModelForSeq2SeqLM, BART),
    "t5": ("t5", AutoModelForSeq2SeqLM, HUB_T5),
    "gpt2": ("gpt2", AutoModelForCausalLM, HUB_GPT),
    "gpt1": ("openai-gpt", AutoModelForCausalLM, HUB_GPT),
    "opt": ("opt", AutoModelForCausalLM, HUB_OPT),
    "llama": ("llama", AutoModelForCausalLM, TIED),
    "qwen3": ("qwen3", AutoModelForCausalLM, {**TIED, "head_dim": 6}),
    "llava": ("llava", AutoModelForImageTextToText, LLAVA),
    "idefics3": ("idefics3", AutoModelForImageTextToText, IDEFICS),
}


def reference(name: str, **changes: Any) -> Any:
    kind, auto, shape = SHAPES[name]
    torch.manual_seed(0)
    model = auto.from_config(CONFIG_MAPPING[kind](**{**shape, **changes}), attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
    return model


def published(theirs: Any, folder: Path, change: Callable[[State], State], pickled: bool = False, **keys: Any) -> Path:
    """A folder that `transformers` wrote, with other tensors and other keys in its config."""
    theirs.save_pretrained(folder)
    file = folder / "model.safetensors"
    state = {name: tensor.contiguous() for name, tensor in change(load_file(file)).items()}
    if pickled:
        file.unlink()
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | keys
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@torch.no_grad()
def check_equal(theirs: Any, ours: Any) -> None:
    """That both give the same logits; of a model with vision, for a picture before the text."""
    tokens = torch.randint(6, 60, (2, 9))
    if theirs.config.is_encoder_decoder:
        target = torch.randint(6, 60, (2, 4))
        given, wanted = ours(tokens, target), theirs(input_ids=tokens, decoder_input_ids=target).logits
    elif hasattr(theirs.config, "vision_config"):
        pixels = torch.randn(1, 3, 32, 32)
        tokens = torch.cat((torch.full((1, ours.network.bridge.tokens), IMAGE), tokens[:1]), dim=1)
        given = ours(tokens, images=pixels)
        shaped = pixels[None] if theirs.config.model_type == "idefics3" else pixels
        wanted = theirs(input_ids=tokens, pixel_values=shaped).logits
    else:
        given, wanted = ours(tokens), theirs(input_ids=tokens).logits
    assert wanted.std() > 0.05
    torch.testing.assert_close(given, wanted, atol=1e-4, rtol=0)


def renaming(old: str, new: str) -> Callable[[State], State]:
    return lambda state: {name.replace(old, new): tensor for name, tensor in state.items()}


def adding(**shapes: tuple[int, ...]) -> Callable[[State], State]:
    """Adds tensors; two underscores stand for a point of the name."""
    return lambda state: {**state, **{name.replace("__", "."): torch.randn(shape) for name, shape in shapes.items()}}


def copying(source: str, *copies: str) -> Callable[[State], State]:
    return lambda state: {**state, **{name: state[source].clone() for name in copies}}


def gammas(state: State) -> State:
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in state.items()
    }


def bare(prefix: str) -> Callable[[State], State]:
    return lambda state: {name.removeprefix(prefix): tensor for name, tensor in state.items()}


MASKS = {
    f"h__{n}__attn__{kind}": shape for n in (0, 1) for kind, shape in (("bias", (1, 1, 40, 40)), ("masked_bias", ()))
}
FREQUENCIES = {f"model__layers__{n}__self_attn__rotary_emb__inv_freq": (2,) for n in (0, 1)}
POOLER = {"bert__pooler__dense__weight": (24, 24), "bert__pooler__dense__bias": (24,)}
POOLER |= {"cls__seq_relationship__weight": (2, 24), "bert__embeddings__position_ids": (1, 40)}
VERSIONS = {"model__encoder__version": (1,), "model__decoder__version": (1,)}
BIAS = {"decoder__block__0__layer__1__EncDecAttention__relative_attention_bias__weight": (32, 4)}
WORDS = "bert.embeddings.word_embeddings.weight"
STACKS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
CASES: dict[str, tuple[str, Callable[[State], State]]] = {
    "bert gamma and beta": ("bert", gammas),
    "bert with pre-training heads": ("bert", adding(**POOLER)),
    "bert with its matrix twice": ("bert", copying(WORDS, "cls.predictions.decoder.weight")),
    "bart with versions": ("bart", adding(**VERSIONS)),
    "bart with its embedding four times": (
        "bart",
        copying("model.shared.weight", *(f"model.{name}" for name in STACKS), "lm_head.weight"),
    ),
    "bart under the encoder's name": ("bart", renaming("model.shared.", "model.encoder.embed_tokens.")),
    "t5 with a bias of cross-attention": ("t5", adding(**BIAS)),
    "t5 with its embedding four times": ("t5", copying("shared.weight", *STACKS, "lm_head.weight")),
    "t5 under the decoder's name": ("t5", renaming("shared.weight", "decoder.embed_tokens.weight")),
    "gpt2 bare, with masks": ("gpt2", lambda state: adding(**MASKS)(bare("transformer.")(state))),
    "gpt2 with its head": ("gpt2", copying("transformer.wte.weight", "lm_head.weight")),
    "gpt1 bare, with masks": ("gpt1", lambda state: adding(**MASKS)(bare("transformer.")(state))),
    "opt bare": ("opt", bare("model.")),
    "opt with its head": ("opt", copying("model.decoder.embed_tokens.weight", "lm_head.weight")),
    "llama with frequencies": ("llama", adding(**FREQUENCIES)),
    "llama bare": ("llama", bare("model.")),
    "llama with its head": ("llama", copying("model.embed_tokens.weight", "lm_head.weight")),
    "llama under its head's name": ("llama", renaming("model.embed_tokens.weight", "lm_head.weight")),
    "qwen3 bare": ("qwen3", bare("model.")),
    "llava of before": ("llava", renaming("vision_tower.", "vision_tower.vision_model.")),
    "idefics3 bare": ("idefics3", bare("model.")),
}


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_logits_agree_with_transformers_on_the_same_folder(name: str, pickled: bool, tmp_path: Path) -> None:
    kind, change = CASES[name]
    published(reference(kind), tmp_path, change, pickled)
    theirs = SHAPES[kind][1].from_pretrained(tmp_path, attn_implementation="eager").eval()
    ours = sepiola.load(tmp_path)
    check_equal(theirs, ours)
    assert ours.spec.language.tied == theirs.config.get_text_config().tie_word_embeddings


@pytest.mark.parametrize(
    "prefix", ["model.language_model.", "language_model.model.model.", "model.language_model.model."]
)
def test_llava_under_any_prefix(prefix: str, tmp_path: Path) -> None:
    theirs = reference("llava")
    published(theirs, tmp_path, renaming("language_model.model.", prefix))
    check_equal(theirs, sepiola.load(tmp_path))


SEPARATE = {
    "bert": {"cls.predictions.decoder.weight": WORDS},
    "bart": {"lm_head.weight": "model.shared.weight"},
    "gpt2": {"lm_head.weight": "transformer.wte.weight"},
    "opt": {"lm_head.weight": "model.decoder.embed_tokens.weight"},
    "llama": {"lm_head.weight": "model.embed_tokens.weight"},
    "t5": {"lm_head.weight": "shared.weight"},
}


@pytest.mark.parametrize("kind", SEPARATE)
def test_a_head_of_other_values_is_not_tied(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the config says; it comes back from our own layout and from the Hub's."""
    ((head, embedding),) = SEPARATE[kind].items()
    published(reference(kind), tmp_path / "hub", lambda state: {**state, head: torch.randn_like(state[embedding])})
    theirs = SHAPES[kind][1].from_pretrained(tmp_path / "hub", attn_implementation="eager").eval()
    with caplog.at_level(logging.WARNING):
        ours = sepiola.load(tmp_path / "hub")
    assert not ours.spec.language.tied and f"{head} and {embedding} differ" in caplog.text
    check_equal(theirs, ours)
    ours.save_hub(tmp_path / "again")
    check_equal(theirs, sepiola.load(tmp_path / "again"))
    check_equal(SHAPES[kind][1].from_pretrained(tmp_path / "again", attn_implementation="eager").eval(), ours)


def test_a_bert_that_is_not_tied_keeps_its_own_bias(tmp_path: Path) -> None:
    theirs = reference("bert", tie_word_embeddings=False)
    theirs.save_pretrained(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    check_equal(theirs, ours)
    ours.save_hub(tmp_path / "again")
    check_equal(AutoModelForMaskedLM.from_pretrained(tmp_path / "again").eval(), ours)


OWN = {"shared": "shared.weight", "encoder": "encoder.embed_tokens.weight", "decoder": "decoder.embed_tokens.weight"}
HELD = [
    ("shared", "decoder"),
    ("shared", "encoder", "decoder"),
    ("shared", "encoder", "decoder", "head"),
    ("encoder", "decoder"),
    ("encoder", "decoder", "head"),
    ("decoder",),
]


@pytest.mark.parametrize("held", HELD, ids=" ".join)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_encoder_and_decoder_may_have_embeddings_of_their_own(
    kind: str, tied: bool, held: tuple[str, ...], tmp_path: Path
) -> None:
    """Which is read by which is as in `transformers`, here and in what is written."""
    if kind == "bart" and not tied and not {"encoder", "decoder", "head"} <= set(held):
        pytest.skip("transformers draws what is missing")
    prefix = "model." if kind == "bart" else ""

    def own(state: State) -> State:
        like = state[f"{prefix}shared.weight"]
        rest = {name: tensor for name, tensor in state.items() if "shared" not in name and name != "lm_head.weight"}
        names = ("lm_head.weight" if name == "head" else prefix + OWN[name] for name in held)
        return {**rest, **{name: torch.randn_like(like) for name in names}}

    published(reference(kind), tmp_path / "hub", own, tie_word_embeddings=tied)
    theirs = SHAPES[kind][1].from_pretrained(tmp_path / "hub", attn_implementation="eager").eval()
    ours = sepiola.load(tmp_path / "hub")
    assert ours.spec.language.decoder_embedding == ({"encoder", "shared"} & set(held) != set())
    check_equal(theirs, ours)
    source, target = torch.randint(6, 60, (2, 9)), torch.randint(6, 60, (2, 4))
    with torch.no_grad():
        state = ours.network.begin(source, 4)
        steps = [ours.network.head(ours.network.extend(token, state)) for token in target.split(1, 1)]
        torch.testing.assert_close(torch.cat(steps, 1), ours(source, target), atol=1e-4, rtol=0)
    ours.save(tmp_path / "ours")
    check_equal(theirs, sepiola.load(tmp_path / "ours"))
    ours.save_hub(tmp_path / "again")
    check_equal(SHAPES[kind][1].from_pretrained(tmp_path / "again", attn_implementation="eager").eval(), ours)
    check_equal(theirs, sepiola.load(tmp_path / "again"))


def test_a_tied_head_is_held_and_exported_once(tmp_path: Path) -> None:
    published(reference("llama"), tmp_path / "hub", CASES["llama with its head"][1])
    ours = sepiola.load(tmp_path / "hub")
    ours.save_hub(tmp_path / "again")
    assert ours.spec.language.tied and "lm_head.weight" not in load_file(tmp_path / "again" / "model.safetensors")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["tie_word_embeddings"] is True


def test_a_head_that_is_missing_is_tied_only_where_the_config_says_so(tmp_path: Path) -> None:
    def headless(state: State) -> State:
        return {name: tensor for name, tensor in state.items() if "lm_head" not in name}

    for kind in ("llama", "llava"):
        published(reference(kind, tie_word_embeddings=False), tmp_path / kind, headless)
        with pytest.raises(
            CheckpointError, match=r"tie_word_embeddings: false, but the weights hold no lm_head.weight"
        ):
            sepiola.load(tmp_path / kind)
    text = {**LLAVA["text_config"], "tie_word_embeddings": True}
    published(reference("llava"), tmp_path / "text", headless, text_config=text)
    assert sepiola.load(tmp_path / "text").spec.language.tied


def test_a_bare_decoder_that_is_not_tied_has_no_head(tmp_path: Path) -> None:
    theirs = reference("llama", tie_word_embeddings=False).model
    theirs.save_pretrained(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    ours.save_hub(tmp_path / "again")
    tokens = torch.randint(6, 60, (2, 9))
    with torch.no_grad():
        wanted = theirs(tokens).last_hidden_state
        torch.testing.assert_close(ours(tokens), wanted, atol=1e-4, rtol=0)
        again = type(theirs).from_pretrained(tmp_path / "again").eval()
        torch.testing.assert_close(again(tokens).last_hidden_state, wanted, atol=1e-4, rtol=0)


def test_the_rows_of_the_embedding_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An early bart-large-cnn says one token fewer than it has."""
    theirs = reference("bart")
    published(theirs, tmp_path, dict, vocab_size=98)
    with caplog.at_level(logging.WARNING):
        ours = sepiola.load(tmp_path)
    assert ours.spec.language.vocabulary == 99 and "vocab_size 98, but model.shared.weight has 99 rows" in caplog.text
    check_equal(theirs, ours)


def test_a_real_bias_is_never_taken_for_a_mask(tmp_path: Path) -> None:
    published(
        reference("gpt2"), tmp_path, lambda s: {n: t for n, t in s.items() if n != "transformer.h.1.attn.c_attn.bias"}
    )
    with pytest.raises(CheckpointError, match=r"missing tensor decoder\.layers\.1\.attention\.qkv\.bias"):
        sepiola.load(tmp_path)


DEFAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "llava text_config": ("llava", ("text_config",)),
    "llava vision_config": ("llava", ("vision_config",)),
    "idefics3 text_config": ("idefics3", ("text_config",)),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_part_that_the_config_leaves_out_is_its_default(name: str, tmp_path: Path) -> None:
    """Of which these weights do not fit, and the message says so by the shapes of `transformers`' defaults."""
    kind, keys = DEFAULTS[name]
    published(reference(kind), tmp_path, dict, **dict.fromkeys(keys))
    with pytest.raises(CheckpointError, match="does not fit its model"):
        sepiola.load(tmp_path)


def test_a_text_config_without_its_kind_is_a_llama(tmp_path: Path) -> None:
    theirs = reference("llava")
    text = {key: value for key, value in theirs.config.text_config.to_dict().items() if key != "model_type"}
    check_equal(theirs, sepiola.load(published(theirs, tmp_path, dict, text_config=text)))


@pytest.mark.parametrize("kind", ["llava", "llava_llama"])
def test_llavas_original_layout_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    published(reference("llama"), tmp_path, dict, model_type=kind, mm_vision_tower="openai/clip-vit-large-patch14-336")
    with pytest.raises(CheckpointError, match=r"LLaVA's original layout.*llava-hf"):
        sepiola.load(tmp_path)
