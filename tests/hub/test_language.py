"""Published language models, made small: asked, stopped, saved and exported as `transformers` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

import sepiola
from sepiola.generation.sampling import Sampling
from sepiola.text.chat import as_message
from tests.hub.checkpoints import checkpoint, names, needs_configs, readable, tokenizer_of

DECODERS = names("llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma3_text", "gpt2", "openai-gpt", "opt")
ENCODER_DECODERS = names("t5", "bart")
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json")
WITH_TEXT = readable([*DECODERS, *ENCODER_DECODERS], *TOKENIZERS)
TEXTS = ["The tide pool is full.", "潮水退了，石头上有一只小乌贼。", " def f(x):\n    return x  # 🦑"]
TALK = [
    {"role": "user", "content": "What lives in a tide pool?"},
    {"role": "assistant", "content": "Crabs, and a squid."},
    {"role": "user", "content": "乌贼吃什么？"},
]

pytestmark = needs_configs


def logits_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            return model(input_ids=ids, decoder_input_ids=ids[:, :3]).logits
        return model(input_ids=ids).logits


@pytest.mark.parametrize("name", [*DECODERS, *ENCODER_DECODERS])
def test_logits_in_and_out(name: str, tmp_path: Path) -> None:
    theirs = checkpoint(name, tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    ids = torch.randint(5, 250, (2, 12), generator=torch.Generator().manual_seed(1))
    wanted = logits_of(theirs, ids)
    target = (ids[:, :3],) if theirs.config.is_encoder_decoder else ()
    with torch.no_grad():
        torch.testing.assert_close(ours(ids, *target), wanted, atol=1e-4, rtol=1e-5)
    ours.save(tmp_path / "ours")
    with torch.no_grad():
        assert torch.equal(sepiola.load(tmp_path / "ours")(ids, *target), ours(ids, *target))
    ours.save_hub(tmp_path / "back")
    again = type(theirs).from_pretrained(tmp_path / "back").eval()
    torch.testing.assert_close(logits_of(again, ids), wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", WITH_TEXT)
def test_texts_are_read_and_continued(name: str, tmp_path: Path) -> None:
    theirs = checkpoint(name, tmp_path / "hub")
    theirs_text = tokenizer_of(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    ours.save(tmp_path / "ours")
    ours.save_hub(tmp_path / "back")
    again_text = AutoTokenizer.from_pretrained(tmp_path / "back")
    again = type(theirs).from_pretrained(tmp_path / "back").eval()
    assert ends_of(again) == ends_of(theirs)
    for text in TEXTS:
        ids = theirs_text(text).input_ids
        assert list(ours._prompts.prompt(text, []).tokens) == ids
        assert again_text(text).input_ids == ids
        tokens = torch.tensor([ids])
        plain = {"max_new_tokens": 12, "do_sample": False, "num_beams": 1}
        wanted = theirs.generate(tokens, attention_mask=torch.ones_like(tokens), **plain)
        written = wanted[0] if theirs.config.is_encoder_decoder else wanted[0, len(ids) :]
        for model in (ours, sepiola.load(tmp_path / "ours")):
            greedy = model.generate(text, max_tokens=12)
            assert greedy == theirs_text.decode(written, skip_special_tokens=True), name
        exported = again.generate(tokens, attention_mask=torch.ones_like(tokens), **plain)
        assert torch.equal(exported, wanted)
    assert isinstance(ours.generate(TEXTS[1], max_tokens=5, sampling=Sampling(temperature=0.8, seed=3)), str)
    assert ours.ask("乌贼是什么颜色的？", choices=("红色", "蓝色")).choice in (0, 1)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7, "top_k": 20, "top_p": 0.8}], ids=["its own", "given"])
@pytest.mark.parametrize("name", WITH_TEXT)
def test_tokens_are_drawn_from_the_same_distribution(
    name: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step: by the settings of the checkpoint, and by other ones in their place."""
    theirs = checkpoint(name, tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    own = ours.processor.generation
    warped = {key: getattr(own, key) for key in ("temperature", "top_k", "top_p", "min_p")} | settings
    ids = torch.tensor([tokenizer_of(tmp_path / "hub")(TEXTS[1]).input_ids])
    drawn = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=True, num_beams=1, max_new_tokens=6, **settings,
        output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    given: list[torch.Tensor] = []

    def draw(self: Sampling, logits: torch.Tensor, *tensors: Any, **keywords: Any) -> torch.Tensor:
        given.append(self.process(logits, tensors[0], **keywords).softmax(-1))
        return drawn.sequences[:, len(given) - 1 - len(drawn.scores)]

    monkeypatch.setattr(Sampling, "draw", draw)
    ours.generate(ids, max_tokens=6, sampling=replace(ours.sampling, **warped))
    assert len(given) == len(drawn.scores)
    for step, (mine, scores) in enumerate(zip(given, drawn.scores, strict=True)):
        wanted = scores.softmax(-1)
        assert torch.equal(mine > 0, wanted > 0), step
        torch.testing.assert_close(mine, wanted, atol=1e-5, rtol=0)
        assert 1 <= int((mine > 0).sum()) <= (warped["top_k"] or mine.shape[-1])


@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_conversation_is_laid_out_by_the_checkpoints_template(name: str, tmp_path: Path) -> None:
    checkpoint(name, tmp_path / "hub")
    text = tokenizer_of(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    if text.chat_template is None:
        assert ours.template is None
        return
    wanted = text.apply_chat_template(TALK, add_generation_prompt=True, return_dict=True)["input_ids"]
    ours.save_hub(tmp_path / "back")
    ours.save(tmp_path / "ours")
    messages = [as_message(turn) for turn in TALK]
    for model in (ours, sepiola.load(tmp_path / "ours"), sepiola.load(tmp_path / "back")):
        assert list(model._chat.prompt(messages).tokens) == list(wanted)
    again = AutoTokenizer.from_pretrained(tmp_path / "back")
    assert again.apply_chat_template(TALK, add_generation_prompt=True, return_dict=True)["input_ids"] == wanted
    assert ours.chat(TALK, max_tokens=4).tokens <= 4


def ends_of(model: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends if isinstance(ends, list) else [] if ends is None else [ends])
