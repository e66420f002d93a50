"""Paired differences of arms: against the interval that `paired_difference` gives, and over several seeds."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from sepiola.data.example import Example
from sepiola.evaluation.metrics.accuracy import paired_difference
from sepiola.experiments.paired import differences, read_answers
from sepiola.reasoning.answer import Answer
from tests.tiny import question_example

EXAMPLES = [question_example(f"e{n}", "q", ("a", "b"), n % 2) for n in range(200)]


def answered(path: Path, skill: float, seed: int, examples: list[Example] = EXAMPLES) -> Path:
    rng = random.Random(seed)
    right = [(e, rng.random() < skill) for e in examples]
    answers = [Answer(e.id, "", (e.question.answer or 0) ^ (not ok)) for e, ok in right if e.question]
    path.write_text("".join(json.dumps(asdict(a)) + "\n" for a in answers))
    return path


def test_one_seed_is_the_paired_difference(tmp_path: Path) -> None:
    first, second = answered(tmp_path / "a", 0.5, 1), answered(tmp_path / "b", 0.7, 2)
    found = differences(EXAMPLES, {"first": [first], "second": [second]})
    wanted = paired_difference(EXAMPLES, read_answers(second), read_answers(first))
    assert found["second"]["difference"] == pytest.approx(wanted.difference)
    assert found["second"]["difference_interval"] == pytest.approx(wanted.interval, abs=0.01)
    assert set(found) == {"second"}


def test_seeds_are_averaged_question_by_question(tmp_path: Path) -> None:
    first = [answered(tmp_path / f"a{n}", 0.5, n) for n in range(3)]
    second = [answered(tmp_path / f"b{n}", 0.7, 10 + n) for n in range(3)]
    found = differences(EXAMPLES, {"first": first, "second": second})["second"]
    single = [differences(EXAMPLES, {"f": [a], "s": [b]})["s"] for a, b in zip(first, second, strict=True)]
    assert found["difference"] == pytest.approx(sum(one["difference"] for one in single) / 3)
    widths = [one["difference_interval"][1] - one["difference_interval"][0] for one in [found, *single]]
    assert widths[0] < min(widths[1:])


def test_other_questions_are_not_compared(tmp_path: Path) -> None:
    first = answered(tmp_path / "a", 0.5, 1)
    other = answered(tmp_path / "b", 0.7, 2, EXAMPLES[:-1])
    assert differences(EXAMPLES, {"first": [first], "second": [other]}) == {}
    assert differences(EXAMPLES, {"first": [first], "second": [tmp_path / "nowhere"]}) == {}
    assert read_answers(tmp_path / "nowhere") == []
