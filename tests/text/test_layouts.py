"""MiniGPT-4's prompt forms: what stands around images, requests and replies, and the ids that come of it."""

from __future__ import annotations

from typing import get_args

import pytest

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.specs.model import SpecialTokens
from sepiola.specs.recipe import Layout as LayoutName
from sepiola.text.encoding import IMAGE, encode
from sepiola.text.layouts import LAYOUTS
from sepiola.text.tokenizer import Tokenizer

PICTURE = ImageRef(data=b"")
ASKED = Example("e", (Message("user", (PICTURE, "Describe this image.")),), "A magnet.")


def shown(example: Example) -> str:
    (message,) = example.messages
    return "".join(part if isinstance(part, str) else "{image}" for part in message.content)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("minigpt-4", "###Human: <Img>{image}</Img> Describe this image. ###Assistant:"),
        ("minigpt-4-llama-2", "[INST] <Img>{image}</Img> Describe this image. [/INST]"),
    ],
)
def test_the_published_forms(name: str, expected: str) -> None:
    laid = LAYOUTS[name].apply(ASKED)
    assert set(get_args(LayoutName)) == set(LAYOUTS), "a recipe may name each"
    assert shown(laid) == expected and laid.target == "A magnet." and laid.images == ASKED.images


def test_a_dialogue_with_several_images_in_chinese() -> None:
    turns = (
        Message("user", (PICTURE, "\n这是什么？")),
        Message("assistant", ("一块磁铁。",)),
        Message("user", ("和这张", PICTURE, "比呢？", PICTURE)),
    )
    text = shown(LAYOUTS["minigpt-4"].apply(Example("e", turns, "更大。")))
    assert text == (
        "###Human: <Img>{image}</Img> 这是什么？ ###Assistant: 一块磁铁。"
        "###Human: 和这张<Img>{image}</Img> 比呢？<Img>{image}</Img> ###Assistant:"
    )


def test_a_decoder_s_prompt_begins_with_its_start_token() -> None:
    tokenizer = Tokenizer.train(["Describe this image. 磁铁 </Img>"], 320, extra=[IMAGE])
    place = tokenizer.id_of(IMAGE)
    assert place is not None

    def prompt(close: bool) -> list[int]:
        (sample,) = encode(
            [ASKED],
            tokenizer,
            SpecialTokens(start=7),
            close=close,
            image_tokens=lambda images: [(place,) * 2 for _ in images],
            placeholder=place,
            layout=LAYOUTS["minigpt-4-llama-2"],
        )
        return list(sample.source)

    before, after = (tokenizer.encode(t) for t in ("[INST] <Img>", "</Img> Describe this image. [/INST]"))
    assert prompt(close=False) == [7, *before, place, place, *after]
    assert prompt(close=True) == [*before, place, place, *after, 1]
