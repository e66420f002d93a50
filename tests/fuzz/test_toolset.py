"""Ten thousand hostile texts through the toolset and its loop: every loop ends, and nothing is evaluated."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sepiola.data.example import Message
from sepiola.reasoning.grounding import LIMIT, ground
from sepiola.reasoning.toolset import Toolset
from sepiola.reasoning.toolset.calculator import Calculator
from sepiola.reasoning.toolset.retrieval import Retrieval
from sepiola.reasoning.toolset.translator import Translator
from tests.fuzz.watch import only_reading

COUNT = 10_000
SIGNS = "0123456789+-*/^%().,=（）×÷  \n\t\0"
WORDS = """
** ^9 ((( ))) 1e999 inf nan __import__('os').system('id') exec( os TS, ts： User, hello 你好 用法语怎么说 翻译成英语
Rafael Nadal </s> <response> {{7*7}} $(id) `id` ../../etc/passwd 𝟙 ②
"""
PIECES = [*SIGNS, *WORDS.split(), "9" * 40, " in French", "\ud83d", "\u202e", "a" * 600]


def text_of(rng: random.Random) -> str:
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, rng.choice((4, 20, 80)))))


def test_every_loop_ends_and_nothing_is_evaluated() -> None:
    translator = Translator(["en", "zh", "fr"], [["hello", "你好", "Bonjour"]])
    tools = Toolset([Calculator(), translator, Retrieval(["Rafael Nadal / Age / 35", "2+2", "你好"])])
    rng, answered, limits = random.Random(0), 0, 0
    texts = [text_of(rng) for _ in range(COUNT)]
    calls = 0

    def write(messages: Sequence[Message]) -> str:
        nonlocal calls
        calls += 1
        return rng.choice(("TS, ", "ts:", "User, ", "")) + rng.choice(texts)

    with only_reading():
        for text in texts:
            found = tools(text)
            assert isinstance(found, list) and all(isinstance(each, str) and len(each) < 1000 for each in found)
            answered += bool(found)
            calls = 0
            reply = ground(write, [Message("user", (text,))], tools)
            assert calls <= LIMIT + 1 and len(reply.steps) <= LIMIT
            limits += reply.ended == "limit"
    assert answered > COUNT / 10 and limits > COUNT / 100
