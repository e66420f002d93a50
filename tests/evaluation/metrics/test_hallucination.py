"""False claims in rationales: counts by hand, an interval over whole rationales, and judges that cannot be."""

from __future__ import annotations

import pytest

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError
from sepiola.evaluation.metrics.hallucination import hallucination
from sepiola.reasoning.answer import Answer


def example(id: str, solution: str) -> Example:
    question = Question("q", ("a", "b"), 0, lecture="", solution=solution)
    return Example(id, (Message("user", ("q",)),), "a", question)


def judge(example: Example, rationale: str) -> tuple[int, int]:
    """A judge of rationales such as "TFT": each letter a true or a false claim."""
    return rationale.count("F"), len(rationale)


def test_hallucination_counts_claims() -> None:
    rationales = {"1": "TTF", "2": "TT", "3": "FF", "4": "", "5": None}
    examples = [example(i, "s") for i in rationales]
    found = hallucination(examples, [Answer(i, "", 0, rationale=r) for i, r in rationales.items()], judge)
    assert (found["rate"], found["false_per_rationale"], found["share_with_false"]) == (3 / 7, 3 / 4, 2 / 4)
    assert (found["false"], found["claims"], found["rationales"]) == (3, 7, 4)
    assert (found["without_claims"], found["without_rationale"]) == (1, 1)
    assert found == hallucination(examples, [Answer(i, "", 0, rationale=r) for i, r in rationales.items()], judge)


def test_hallucination_interval_draws_whole_rationales() -> None:
    """Claims of one rationale hang together: ten of one kind each are worth little more than one."""
    together = {str(i): "F" * 10 if i % 2 else "T" * 10 for i in range(40)}
    apart = {str(i): "FT" * 5 for i in range(40)}
    spans = []
    for rationales in (together, apart):
        examples = [example(i, "s") for i in rationales]
        found = hallucination(examples, [Answer(i, "", 0, rationale=r) for i, r in rationales.items()], judge)
        assert found["rate"] == 0.5
        spans.append(found["interval"])
    # 40 coins: 0.5 ± 1.96 * sqrt(0.25 / 40).
    assert spans[0] == pytest.approx([0.345, 0.655], abs=0.03)
    assert spans[1] == [0.5, 0.5]


def test_hallucination_of_nothing_and_an_impossible_judge() -> None:
    silent = hallucination([example("1", "s")], [Answer("1", "", 0)], judge)
    assert (silent["rate"], silent["interval"], silent["share_with_false"]) == (None, None, None)
    with pytest.raises(DataError, match="3 false of 2 claims"):
        hallucination([example("1", "s")], [Answer("1", "", 0, rationale="x")], lambda e, r: (3, 2))
