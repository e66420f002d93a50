"""The benchmark of the five kinds: figures of each cell, shots of its own kind, and baselines that can win."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sepiola.data.example import Example, Message
from sepiola.evaluation.baselines.instructions import instruction_baselines
from sepiola.evaluation.benchmarks.instruction_kinds import BENCHMARK
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.reasoning.answer import Answer
from sepiola.specs.data import DataSpec
from sepiola.specs.recipe import FewShotSpec


def item(kind: str, language: str, number: int, given: str, reply: str) -> Example:
    about = {"kind": kind, "language": language, "input": given, "group": str(number)}
    return Example(f"{kind}-{language}-{number}", (Message("user", (f"Do:\n{given}",)),), reply, metadata=about)


TRAIN = [item("classification", "en", n, f"song {n}", "music") for n in range(4)]
TRAIN += [item("classification", "en", 9, "rain today", "weather"), item("entities", "zh", 9, "给小春", "to: 小春")]
TEST = [item("classification", "en", 20, "rain now", "weather"), item("entities", "zh", 20, "to: 林磊", "to: 林磊")]


class Echo:
    """Writes the reply of the last instruction that it is shown, or nothing."""

    def __init__(self, shown: dict[str, list[Example]] | None = None) -> None:
        self.shown = shown or {}

    def example_generator(self, target_tokens: int) -> Echo:
        return self

    def showing(self, demonstrations: dict[str, list[Example]]) -> Echo:
        return Echo(demonstrations)

    def write(self, examples: Sequence[Example]) -> list[list[str]]:
        return [[self.shown[e.id][-1].target if e.id in self.shown else "?"] for e in examples]


def settings(few_shot: FewShotSpec | None = None, train: Sequence[Example] = TRAIN) -> Settings:
    spec = DataSpec(reader="instruction_kinds", root="x")
    return Settings(spec, read=lambda data: TEST, training=lambda reader: train, few_shot=few_shot)


def test_each_cell_has_its_score_and_baselines() -> None:
    model: Any = Echo()
    figures = BENCHMARK.run(model, settings()).figures["kinds"]
    assert list(figures) == ["classification en", "entities zh"]
    assert figures["classification en"]["shots"][0]["score"] == 0.0
    baselines = {name: found["score"] for name, found in figures["classification en"]["baselines"].items()}
    assert baselines == {"copy": 0.0, "majority": 0.0, "nearest": 1.0}
    assert figures["entities zh"]["baselines"]["copy"]["score"] == 1.0
    (table,) = BENCHMARK.tables({"kinds": figures})
    assert [line["name"] for line in table["lines"]] == ["0 shots", "copy", "majority", "nearest"]


def test_shots_are_of_the_same_kind_and_language() -> None:
    model: Any = Echo()
    few = FewShotSpec(shots=(0, 1), shuffled=False)
    figures = BENCHMARK.run(model, settings(few)).figures["kinds"]
    assert sorted(figures["entities zh"]["shots"]) == [0, 1]
    measured = BENCHMARK.run(model, settings(few)).answered
    assert {answer.output for _, answer in measured} <= {"music", "weather", "to: 小春"}
    assert dict((e.id, a.output) for e, a in measured)["entities-zh-20"] == "to: 小春"


def test_a_reply_is_scored_by_its_kind_and_nothing_is_learned_of_nothing() -> None:
    assert BENCHMARK.reward(TEST[0], Answer("", "Weather.")) == 1.0
    assert BENCHMARK.reward(Example("x", (), "y"), Answer("", "y")) is None
    assert list(instruction_baselines([], TEST)) == ["copy"]
