"""Conversations as samples: the ids and the mask of `transformers`, and what each reply reads before it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from transformers import PreTrainedTokenizerFast

from sepiola.data.batching import IGNORED, Collator, Sample
from sepiola.data.example import Example, Message, each_reply
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.specs.model import SpecialTokens
from sepiola.text.chat import ChatTemplate
from sepiola.text.conversation import Conversations, ConversationSamples, own_template
from sepiola.text.tokenizer import Tokenizer

HUB = Path(os.environ.get("SEPIOLA_DATA", ".")) / "hub_configs"
needs_hub = pytest.mark.skipif(not HUB.is_dir(), reason="no $SEPIOLA_DATA/hub_configs: real tokenizers and templates")
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}{% endfor %}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
UNMARKED = MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
FORGETFUL = UNMARKED.replace("{% for m in messages %}", "{% for m in messages[-3:] %}")
CALL = {"name": "weather", "arguments": {"city": "成都"}}
TALK = Example(
    "talk",
    (
        Message("system", ("You help. 帮忙。",)),
        Message("user", ("Hi, 你好 👋",)),
        Message("assistant", ("Hello 👋",)),
        Message("user", ("天气怎么样？",)),
        Message("assistant", ("好的。", json.dumps([CALL])), (CALL,)),
        Message("tool", ('{"晴": 21}',)),
    ),
    "成都晴，21 度。",
    metadata={"replies": [2, 4]},
)
PAIR = Example("pair", (Message("user", ("Name a colour, 一种颜色",)),), " red 红", metadata={})


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    names = ["<|im_start|>", "<|im_end|>", "<image>"]
    return Tokenizer.train(["Hello help Hi colour 你好 天气 成都"] * 3, 320, extra=names)


def as_dicts(example: Example) -> list[dict[str, Any]]:
    """The conversation as the Hub has it."""
    turns = []
    for message in (*example.messages, Message("assistant", (example.target,))):
        said = message.content[:-1] if message.calls else message.content
        turn: dict[str, Any] = {"role": message.role, "content": "".join(map(str, said))}
        if message.calls:
            turn["tool_calls"] = [{"type": "function", "function": dict(call)} for call in message.calls]
        turns.append(turn)
    return turns


def spread(sample: Sample) -> tuple[list[int], list[int]]:
    """All ids of a sample, and which of them are learned."""
    mask = np.ones(len(sample.target), bool) if sample.learned is None else sample.learned
    return [*sample.source, *sample.target], [0] * len(sample.source) + [int(known) for known in mask]


def by_prefixes(peer: PreTrainedTokenizerFast, turns: list[dict[str, Any]], replies: list[int]) -> tuple[Any, Any]:
    """The ids of a conversation, and what its replies add to the prompts before them, by `transformers` alone."""
    whole = peer.apply_chat_template(turns, tokenize=False)
    encoded = peer(whole, add_special_tokens=False, return_offsets_mapping=True)
    mask = [0] * len(encoded["input_ids"])
    for at in replies:
        begin = len(peer.apply_chat_template(turns[:at], tokenize=False, add_generation_prompt=True))
        until = len(peer.apply_chat_template(turns[: at + 1], tokenize=False).rstrip())
        for place, (first, last) in enumerate(encoded["offset_mapping"]):
            mask[place] |= int(first < until and last > begin)
    return encoded["input_ids"], mask


def same(ours: tuple[list[int], list[int]], theirs: tuple[list[int], list[int]]) -> None:
    """Ours end with the last token that is learned; what follows it is the template's line break."""
    length = len(ours[0])
    assert (ours[0], ours[1]) == (theirs[0][:length], theirs[1][:length])
    assert sum(theirs[1][length:]) == 0


@pytest.mark.parametrize("example", [TALK, PAIR], ids=["talk", "pair"])
def test_ids_and_mask_are_those_of_transformers(tokenizer: Tokenizer, example: Example) -> None:
    peer = PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer.from_str(tokenizer.to_json()))
    for source in (MARKED, UNMARKED):
        peer.chat_template = source
        end = tokenizer.id_of("<|im_end|>") or 0
        laid_out = ConversationSamples(Conversations(tokenizer, ChatTemplate({"default": source})), end, decoder=True)
        (sample,) = laid_out.of(example)
        turns = as_dicts(example)
        if source is MARKED:
            theirs = peer.apply_chat_template(turns, return_assistant_tokens_mask=True, return_dict=True)
            same(spread(sample), (theirs["input_ids"], theirs["assistant_masks"]))
        replies = [at for at, turn in enumerate(turns) if turn["role"] == "assistant"]
        same(spread(sample), by_prefixes(peer, turns, replies))
        assert sample.target[-1] == end, "a reply is closed by the token that ends it"


@needs_hub
@pytest.mark.parametrize("name", ["SmolVLM-256M-Instruct", "TinyLlama-1.1B-Chat-v1.0", "Mistral-7B-Instruct-v0.2"])
def test_real_tokenizers_and_templates(name: str) -> None:
    tokenizer, template = Tokenizer.load(HUB / name / "tokenizer.json"), ChatTemplate.load(HUB / name)
    assert template is not None
    peer = PreTrainedTokenizerFast(tokenizer_file=str(HUB / name / "tokenizer.json"), **template.special_tokens)
    peer.chat_template = template.templates["default"]
    in_parts = "SmolVLM" in name
    turns = (
        Message("user", ("Which planet is red, 哪颗？",)),
        Message("assistant", ("Mars. 火星。",)),
        Message("user", ("And blue?",)),
    )
    example = Example("t", turns, "Neptune 海王星", metadata={"replies": [1]})
    end = tokenizer.id_of(template.special_tokens["eos_token"]) or 0
    laid_out = ConversationSamples(Conversations(tokenizer, template), end, decoder=True)
    assert laid_out.rows
    (sample,) = laid_out.of(example)
    dicts = as_dicts(example)
    if in_parts:
        dicts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in dicts]
    same(spread(sample), by_prefixes(peer, dicts, [1, 3]))


def test_a_model_without_a_template_has_one_of_our_own(tokenizer: Tokenizer) -> None:
    laid_out = ConversationSamples(Conversations(tokenizer, own_template()), 1, decoder=True)
    (sample,) = laid_out.of(TALK)
    learned = [token for token, known in zip(*spread(sample), strict=True) if known]
    replies = [" Hello 👋", f" 好的。{json.dumps(CALL, ensure_ascii=False)}", " 成都晴，21 度。"]
    assert tokenizer.decode(learned, special_tokens=True) == "".join(f"{reply}</s>" for reply in replies)
    assert tokenizer.decode(sample.source).endswith("User: Hi, 你好 👋\nAssistant:")


@pytest.mark.parametrize("decoder", [True, False])
def test_an_empty_reply_is_its_end_alone(tokenizer: Tokenizer, decoder: bool) -> None:
    """A policy may write nothing, and a reward model reads that too."""
    laid_out = ConversationSamples(Conversations(tokenizer, own_template()), 1, decoder=decoder)
    empty, full = (Example("e", (Message("user", ("你好 hi",)),), text) for text in ("", "hi"))
    assert laid_out.reply(empty).source == laid_out.reply(full).source
    assert laid_out.reply(empty).target == laid_out.reply(full).target[-1:] == (1,)
    assert laid_out.scored(empty).target[-1:] == laid_out.scored(full).target[-1:]


def test_an_encoder_decoder_reads_before_each_reply(tokenizer: Tokenizer) -> None:
    laid_out = ConversationSamples(Conversations(tokenizer, ChatTemplate({"default": UNMARKED})), 1, decoder=False)
    samples = laid_out.of(TALK)
    assert [sample.id for sample in samples] == ["talk#2", "talk#4", "talk"]
    assert [tokenizer.decode(list(sample.target)) for sample in samples][::2] == ["Hello 👋", "成都晴，21 度。"]
    assert all(sample.source[-1] == 1 for sample in samples)
    assert "Hello 👋" in tokenizer.decode(list(samples[1].source))
    assert [one.target for one in each_reply(TALK)][::2] == ["Hello 👋", "成都晴，21 度。"]
    assert each_reply(TALK)[1].metadata == {"calls": [CALL]}, "a reply that is calls says so"


def test_names_of_control_tokens_in_a_text_are_letters(tokenizer: Tokenizer) -> None:
    end = tokenizer.id_of("<|im_end|>") or 0
    talk = Example("t", (Message("user", ("Say <|im_end|> 说",)),), "It is <|im_end|>.", metadata={})
    for source in (MARKED, UNMARKED):
        laid_out = ConversationSamples(Conversations(tokenizer, ChatTemplate({"default": source})), end, decoder=True)
        (sample,) = laid_out.of(talk)
        assert list(sample.target).count(end) == 1 and sample.target[-1] == end
        assert tokenizer.decode(list(sample.target)[:-1]) == "It is <|im_end|>."
        assert list(sample.source).count(end) == 1


def test_what_a_template_lays_out_anew_is_refused(tokenizer: Tokenizer) -> None:
    laid_out = ConversationSamples(Conversations(tokenizer, ChatTemplate({"default": FORGETFUL})), 321, decoder=True)
    laid_out.rows = True
    with pytest.raises(DataError, match="lays out what was said before anew"):
        laid_out.of(TALK)


def test_pictures_stand_where_they_are_shown(tokenizer: Tokenizer) -> None:
    class Images:
        """Two tokens a picture."""

        token = tokenizer.id_of("<image>")
        first = False
        instructed = None

        def image_tokens(self, images: Any) -> list[list[int | str]]:
            return [[self.token or 0] * 2 for _ in images]

        def sizes(self, images: Any) -> None:
            return None

    picture = ImageRef(data=b"")
    turns = (
        Message("user", ("Look: ", picture, "谁？")),
        Message("assistant", ("A.",)),
        Message("user", ("B?", picture)),
    )
    example = Example("t", turns, "C.", metadata={"replies": [1]})
    laid_out = ConversationSamples(
        Conversations(tokenizer, own_template("<image>"), "<image>"), 1, decoder=True, images=Images()
    )
    (sample,) = laid_out.of(example)
    ids, learned = spread(sample)
    assert tokenizer.decode(ids, special_tokens=True) == (
        "User: Look: <image><image>谁？\nAssistant: A.</s>\nUser: B?<image><image>\nAssistant: C.</s>"
    )
    written = tokenizer.decode([i for i, known in zip(ids, learned, strict=True) if known], special_tokens=True)
    assert (written, sample.images, sample.placeholder) == (" A.</s> C.</s>", (picture, picture), Images.token)
    blind = ConversationSamples(Conversations(tokenizer, own_template("<image>"), "<image>"), 1, decoder=True)
    assert blind.of(example)[0].images == ()
    fused = ConversationSamples(Conversations(tokenizer, own_template()), 1, decoder=False, fused=True)
    with pytest.raises(DataError, match="images: false"):
        fused.of(example)


def test_only_what_is_learned_is_labelled_and_a_cut_ends_with_it() -> None:
    mask = np.array([True, True, False, False, True, True])
    sample = Sample("s", (7, 8), (1, 2, 3, 4, 5, 6), learned=mask)
    labels = Collator(SpecialTokens(start=0, end=1, pad=0), kind="decoder")([sample]).labels[0].tolist()
    assert labels == [IGNORED, 1, 2, IGNORED, IGNORED, 5, 6]
    assert [tuple(sample.cut(9, most).target) for most in (1, 3, 4, 5)] == [(1,), (1, 2), (1, 2), (1, 2, 3, 4, 5)]
    with pytest.raises(DataError, match="ends with a token that is not learned"):
        Sample("s", (), (1, 2), learned=np.array([True, False]))
