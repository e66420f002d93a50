"""Which replies refuse, in English and Chinese, and which only look like it."""

from __future__ import annotations

import pytest

from sepiola.reasoning.sample_and_rank import NOTHING
from sepiola.text.refusals import refuses


@pytest.mark.parametrize(
    "reply",
    [
        "I can't help with that.",
        "Sorry, I cannot answer that",
        "i ca n't help you",
        "I can’t say that",
        "I won't tell you.",
        "I'd rather not talk about it",
        "I'm sorry, but I'm not able to provide that",
        "I am unable to help.",
        "I don't want to talk about it.",
        "I must decline.",
        "As an AI I have no opinion.",
        "对不起，我无法提供帮助。",
        "我不能告诉你",
        "我拒绝",
        *NOTHING.values(),
    ],
)
def test_it_refuses(reply: str) -> None:
    assert refuses(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I can't help but laugh",
        "I can't help it.",
        "I don't know.",
        "I'm sorry to hear that.",
        "I don't want to live in a house",
        "You can't help me.",
        "我不知道",
        "我不会游泳",
        "他拒绝了她",
    ],
)
def test_it_does_not(reply: str) -> None:
    assert not refuses(reply)
