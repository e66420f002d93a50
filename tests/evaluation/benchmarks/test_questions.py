"""A benchmark's figures: every baseline bucket by bucket, beside the model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError
from sepiola.evaluation.benchmarks import scienceqa, tidepool
from sepiola.evaluation.benchmarks.questions import Questions
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.evaluation.report.buckets import read_and_cut
from sepiola.reasoning.answer import Answer
from sepiola.specs.recipe import DataSpec
from sepiola.tidepool import generate
from tests.tiny import question_example


def test_baselines_stand_beside_the_model_in_every_bucket() -> None:
    train, examples = generate("train", 60, size=64), generate("test", 36, size=64)
    answers = [Answer(e.id, output="", choice=e.question.answer if e.question else None) for e in examples]
    figures = tidepool.BENCHMARK.figures(examples, answers, train)
    assert figures["accuracy"] == 1.0
    for name in ("chance", "majority", "nearest_neighbour"):
        table = figures["baselines"][name]["buckets"]
        assert table.keys() == figures["buckets"].keys()
        for key, buckets in table.items():
            assert {v: b["count"] for v, b in buckets.items()} == {
                v: b["count"] for v, b in figures["buckets"][key].items()
            }
    languages = figures["baselines"]["chance"]["buckets"]["language"]
    mean = sum(b["accuracy"] * b["count"] for b in languages.values()) / len(examples)
    assert mean == pytest.approx(figures["baselines"]["chance"]["accuracy"])


def test_chance_in_scienceqas_buckets_is_one_over_the_choices() -> None:

    def asked(name: str, choices: int, subject: str) -> Example:
        question = Question("?", tuple(map(str, range(choices))), 0, hint="")
        return Example(name, (Message("user", ("?",)),), "0", question, {"subject": subject, "grade": "grade2"})

    examples = [asked("a", 2, "natural science"), asked("b", 4, "natural science"), asked("c", 2, "language science")]
    answers = [Answer(e.id, output="", choice=0) for e in examples]
    found = scienceqa.BENCHMARK.figures(examples, answers)["baselines"]["chance"]["buckets"]
    assert (found["NAT"]["accuracy"], found["LAN"]["accuracy"], found["SOC"]["accuracy"]) == (0.375, 0.5, None)


def test_a_set_without_its_training_split_is_measured_and_says_which_baselines_are_left_out() -> None:
    def absent(reader: str | None) -> list[Example]:
        raise DataError("pid_splits.json: no split 'train'; it holds minitest")

    closed = [question_example(str(n), "Which?", ("ant", "whale"), n % 2) for n in range(4)]
    opened = [Example("o", (Message("user", ("What?",)),), "ant", Question("What?", answer_text="ant"))]
    for examples in (closed, opened):

        class Answering:
            rationale = None

            def answer(self, asked: Sequence[Example], **_: Any) -> list[Answer]:
                return [Answer(e.id, "ant", 0 if e.question and e.question.choices else None) for e in asked]

        settings = Settings(
            DataSpec(reader="scienceqa", root="x"), read=lambda _, e=examples: e, training=absent, baseline_questions=9
        )
        figures = Questions().run(Answering(), settings).figures  # type: ignore[arg-type]
        assert figures["count"] == len(examples) and list(figures["baselines"]) == (
            ["chance"] if examples is closed else []
        )
        assert "no split 'train'" in figures["baselines_left_out"]["reason"]
        assert "Baselines left out" in read_and_cut(figures)
