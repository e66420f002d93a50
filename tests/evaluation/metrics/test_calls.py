"""Names, arguments and whole calls counted, and what calls nothing."""

from __future__ import annotations

from typing import Any, Literal

from sepiola.acting.functions import function
from sepiola.calling.functions import Call
from sepiola.data.example import Example, Message
from sepiola.evaluation.metrics.calls import call_figures, call_tables, judged


def request(calls: list[Any], language: str = "en", **about: Any) -> Example:
    return Example("a", (Message("user", ("喂猫",)),), "", metadata={"calls": calls, "language": language, **about})


FEED = {"name": "feed", "arguments": {"pet": "cat", "grams": 10}}


def test_calls_are_counted_by_what_is_right_of_them() -> None:
    rows = [
        judged(request([FEED]), [Call("feed", {"pet": "cat", "grams": 10.0})]),
        judged(request([FEED], "zh"), [Call("feed", {"pet": "cat", "grams": True})]),
        judged(request([FEED], "zh"), [Call("walk", {})]),
        judged(request([FEED]), None),
        judged(request([], near_miss=True), []),
        judged(request([]), None),
        judged(request([{"name": "feed", "arguments": None}]), []),
    ]
    figures = call_figures(rows)
    assert figures["name"]["value"] == 2 / 5 and figures["exact"] | {"interval": 0} == {
        "value": 0.25, "interval": 0, "count": 4,
    }  # fmt: skip
    assert figures["arguments"]["value"] == 3 / 8
    assert figures["irrelevant"]["precision"]["value"] == 0.5  # one of two that called nothing was to call nothing
    assert figures["irrelevant"]["recall"]["value"] == 0.5  # what could not be read is wrong
    assert figures["near_miss"]["value"] == 1.0 and figures["unparsed"] == 2
    assert figures["by"]["zh, text"]["name"]["value"] == 0.5 and figures["worst"]["function"] == "feed"
    (table,) = call_tables({"acting": figures})
    assert [line["name"] for line in table["lines"]] == [
        "All", "en", "en, text", "en, text, one call", "zh", "zh, text", "zh, text, one call",
    ]  # fmt: skip


def test_listed_values_are_judged_by_the_leaderboards_rules() -> None:
    tools = [{"function": {"name": "feed", "parameters": {"properties": {"pet": {"type": "string"}}}}}]
    example = request([{"name": "feed", "arguments": {"pet": "big cat"}}], tools=tools,
                      allowed=[{"name": "feed", "arguments": {"pet": ["big cat"]}}])  # fmt: skip
    assert judged(example, [Call("feed", {"pet": "Big-Cat"})]).exact
    assert not judged(example, [Call("feed", {"pet": "dog"})]).exact


def test_words_that_stand_in_the_request_are_counted_apart() -> None:
    @function
    def text(to: str, how: Literal["喂"], words: list[str]) -> None:
        """Texts."""

    right = {"to": "喂猫", "how": "喂", "words": ["猫", "狗", "喂"]}
    row = judged(request([{"name": "text", "arguments": right}]),
                 [Call("text", {"to": "喂", "how": "喂", "words": ["猫", "狗"]})], [text])  # fmt: skip
    assert row.copied == (1, 3)  # 狗 does not stand there, and what `how` may be is listed
    assert judged(request([{"name": "text", "arguments": right}]), [], [text]).copied == (0, 3)
    assert call_figures([row])["copied"]["value"] == 1 / 3
