"""A benchmark's figures: every baseline bucket by bucket, beside the model's."""

from __future__ import annotations

import pytest

from sepiola.evaluation.benchmarks import scienceqa, tidepool
from sepiola.reasoning.answer import Answer
from sepiola.tidepool import generate


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
    from sepiola.data.example import Example, Message, Question

    def asked(name: str, choices: int, subject: str) -> Example:
        question = Question("?", tuple(map(str, range(choices))), 0, hint="")
        return Example(name, (Message("user", ("?",)),), "0", question, {"subject": subject, "grade": "grade2"})

    examples = [asked("a", 2, "natural science"), asked("b", 4, "natural science"), asked("c", 2, "language science")]
    answers = [Answer(e.id, output="", choice=0) for e in examples]
    found = scienceqa.BENCHMARK.figures(examples, answers)["baselines"]["chance"]["buckets"]
    assert (found["NAT"]["accuracy"], found["LAN"]["accuracy"], found["SOC"]["accuracy"]) == (0.375, 0.5, None)
