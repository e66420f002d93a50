"""Answers with a toolset and without: what is right, what the toolset knows, and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

import sepiola
from sepiola.data.example import Example
from sepiola.datasets import read
from sepiola.evaluation.benchmarks import BENCHMARKS, benchmark_of
from sepiola.evaluation.benchmarks.grounded import right, toolset_of
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.specs.data import DataSpec
from tests.tiny import decoder

PARTS = {"parts": ["sums", "facts"], "sums": 40, "people": 12}


def rows(split: str) -> list[Example]:
    return read("grounded", None, split, **PARTS)


class Asks:
    """It has learned the calls by heart, says what the toolset gives, and 0 where that is nothing."""

    spec = sepiola.build({"name": "asks", "language": decoder()}).spec

    def example_generator(self, target_tokens: int) -> Any:
        calls = {example.prompt: example.target for example in rows("test") if example.metadata["step"] == 0}

        def write(examples: Sequence[Example]) -> list[list[str]]:
            return [[self.turn(example, calls)] for example in examples]

        return SimpleNamespace(write=write)

    def turn(self, example: Example, calls: dict[str, str]) -> str:
        if len(example.messages) == 1:
            return calls[example.prompt]
        given = example.messages[-1].text.partition("\n")[0].removeprefix("TS: ")
        return "User, 0" if given == "-" else f"User, It is {given.split(' / ')[-1]}."


def test_with_tools_all_is_right_and_without_nothing() -> None:
    data = DataSpec(reader="grounded", split="test", options=PARTS)
    model: Any = Asks()
    settings = Settings(data, training=lambda reader: rows("train"))
    assert benchmark_of(model, settings) == "grounded"
    figures = BENCHMARKS["grounded"].run(model, settings).figures
    assert figures["count"] == 40 + 3 * 12 and sum(cell["count"] for cell in figures["grounded"].values()) == 76
    assert {*figures["grounded"]} == {"sums en", "sums zh", "facts en", "facts zh"}
    for cell in figures["grounded"].values():
        systems = cell["systems"]
        assert systems["with_tools"]["right"] == systems["with_tools"]["f1"] == 1.0
        assert systems["without"]["right"] == 0.0
        assert systems["majority"]["right"] < 0.5 and systems["nearest"]["right"] < 0.5
        assert cell["ended"] == {"user": cell["count"]} and cell["calls"] == 1.0
    assert figures["grounded"]["sums en"]["systems"]["toolset_alone"]["right"] < 0.5  # it reads no words
    first, second = BENCHMARKS["grounded"].tables(figures)
    assert [line["name"] for line in first["lines"]][:2] == ["with tools", "without"] and "F1" in second["title"]
    assert BENCHMARKS["grounded"].headlines(figures)[0]["value"] == "100.0%"


@pytest.mark.parametrize(
    ("said", "wanted", "is_right"),
    [
        ("It is 7856.", "7856", True),
        ("是-12。", "-12", True),
        ("It is 12.", "-12", False),
        ("It is 1,234.", "1234", True),
        ("It is 78.", "7856", False),
        ("It is Rome.", "Rome", True),
        ("是北京。", "北京", True),
        ("Rome or Oslo", "Rome", False),
        ("", "7", False),
    ],
)
def test_right_is_the_wanted_number_or_words(said: str, wanted: str, is_right: bool) -> None:
    assert right(said, wanted) is is_right


def test_the_toolset_knows_what_dialogues_were_given_and_no_sums() -> None:
    asked = [e for e in rows("test") if e.metadata["part"] == "facts" and e.metadata["step"] == 1]
    (retrieval,) = toolset_of(rows("test")).tools[1:]
    assert {*retrieval.passages} == {e.messages[2].text.removeprefix("TS: ") for e in asked}  # type: ignore[attr-defined]
    assert toolset_of([e for e in rows("test") if e.metadata["part"] == "sums"])("12+30") == ["42"]
