"""Accuracy, Wilson intervals, paired differences, joining by id and unparsed outputs, on counted examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError
from sepiola.evaluation.metrics.accuracy import accuracy, join_by_id, paired_difference, verdicts, wilson_interval
from sepiola.reasoning.answer import Answer


def closed(id: str, answer: int = 0, choices: int = 3) -> Example:
    options = tuple("abcdefgh"[:choices])
    return Example(id, (Message("user", ("q",)),), options[answer], Question("q", options, answer))


def opened(id: str, answer: str) -> Example:
    return Example(id, (Message("user", ("q",)),), answer, Question("q", answer_text=answer))


def answered(choices: dict[str, int | None]) -> list[Answer]:
    return [Answer(id, "text", choice) for id, choice in choices.items()]


def test_accuracy_is_joined_by_id_not_by_order() -> None:
    examples = [closed("a", 0), closed("b", 1), closed("c", 2), closed("d", 0)]
    given = answered({"d": 1, "c": 2, "b": 1, "a": 0})
    result = accuracy(examples, given)
    assert (result.accuracy, result.correct, result.count, result.unparsed) == (0.75, 3, 4, 0)
    assert [v.answer.id for v in verdicts(examples, given)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("examples", "answers", "message"),
    [
        (["a", "b"], ["a"], r"1 of 2 examples have no answer \(b\)"),
        (["a"], ["a", "z"], r"1 of 2 answers belong to no example \(z\)"),
        (["a", "b"], ["a", "a"], "answers: the id 'a' stands more than once"),
        (["a", "b", "b"], ["a", "b"], "examples: the id 'b' stands more than once"),
        ([str(i) for i in range(9)], [], r"9 of 9 examples have no answer \(0, 1, 2, …\)"),
    ],
)
def test_ids_that_do_not_match_are_named(examples: list[str], answers: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        join_by_id([closed(id) for id in examples], [Answer(id, "") for id in answers])


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (1, 10), (10, 10), (357, 424), (1, 1), (0, 1)])
def test_wilson_agrees_with_scipy(correct: int, count: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(correct, count).proportion_ci(method="wilson")
    assert wilson_interval(correct, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.floats(0, n), st.just(n))))
def test_wilson_holds_the_share(case: tuple[float, int]) -> None:
    correct, count = case
    low, high = wilson_interval(correct, count)
    assert 0 <= low <= correct / count + 1e-12
    assert correct / count - 1e-12 <= high <= 1


@pytest.mark.parametrize(("correct", "count"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_impossible_counts(correct: int, count: int) -> None:
    with pytest.raises(DataError, match="0 <= correct <= count"):
        wilson_interval(correct, count)


def test_unparsed_is_wrong_by_default_and_counted() -> None:
    result = accuracy([closed("a"), closed("b")], answered({"a": 0, "b": None}))
    assert (result.correct, result.unparsed, result.unparsed_rule) == (1, 1, "wrong")


def test_random_draws_among_five_seeded_by_id() -> None:
    examples = [closed(str(i), i % 4, choices=4) for i in range(2000)]
    answers = answered({e.id: None for e in examples})
    whole = accuracy(examples, answers, unparsed="random", seed=1)
    assert whole.unparsed == 2000
    assert whole.accuracy == pytest.approx(0.2, abs=0.03), "among five, not among the question's four"
    part = accuracy(examples[::-1][:500], answers[1500:], unparsed="random", seed=1)
    again = verdicts(examples, answers, unparsed="random", seed=1)
    assert part.correct == sum(v.correct for v in again[1500:]), "a draw must not depend on order or company"
    assert whole.correct != accuracy(examples, answers, unparsed="random", seed=2).correct


def test_unknown_rule_and_impossible_choice_are_refused() -> None:
    with pytest.raises(DataError, match="expected 'wrong' or 'random'"):
        verdicts([closed("a")], answered({"a": 0}), unparsed="half")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"choice 3 does not exist.*3 choices \(0 to 2\)"):
        accuracy([closed("a")], answered({"a": 3}))


def test_unknown_right_answer_is_refused() -> None:
    nameless = Example("x", (Message("user", ("q",)),), "", Question("q", ("a", "b")))
    with pytest.raises(DataError, match="'x': its right answer is not known"):
        accuracy([nameless], answered({"x": 0}))


@pytest.mark.parametrize(
    ("gold", "output", "right"),
    [
        ("red", "The answer is Red.", True),
        ("红色", "答案是红色。", True),
        ("红色", "答案：红色", True),
        ("5", "５", True),
        ("two cups", "  two   cups ", True),
        ("red", "It is **red**.", True),
        ("chair", "A chair.", True),
        ("red", "dark red", False),
        ("红色", "蓝色", False),
    ],
)
def test_open_answers_are_compared_after_normalisation(gold: str, output: str, right: bool) -> None:
    assert verdicts([opened("a", gold)], [Answer("a", output)])[0].correct is right


def test_an_empty_open_answer_is_unparsed() -> None:
    result = accuracy([opened("a", "red"), opened("b", "red")], [Answer("a", " . "), Answer("b", "blue")])
    assert (result.correct, result.unparsed) == (0, 1)


def test_no_question_has_no_accuracy() -> None:
    result = accuracy([], [])
    assert result.to_dict()["accuracy"] is None
    assert result.to_dict()["interval"] is None


def test_paired_difference_counts_and_tests() -> None:
    stats = pytest.importorskip("scipy.stats")
    examples = [closed(str(i)) for i in range(200)]
    first = answered({str(i): 0 if i < 150 else 1 for i in range(200)})
    second = answered({str(i): 0 if 30 <= i < 160 else 1 for i in range(200)})
    result = paired_difference(examples, first, second[::-1], seed=3)
    assert (result.only_first, result.only_second, result.count) == (30, 10, 200)
    assert result.difference == pytest.approx(0.1)
    # The normal approximation of the same interval: 0.1 ± 1.96 * sqrt((40/200 - 0.1²) / 200).
    assert result.interval == pytest.approx((0.0396, 0.1604), abs=0.008)
    assert result.p_value == pytest.approx(stats.binomtest(10, 40, 0.5).pvalue)
    assert result == paired_difference(examples, first, second, seed=3)
    turned = paired_difference(examples, second, first, seed=3)
    assert (turned.difference, turned.p_value) == (-result.difference, result.p_value)


def test_paired_difference_of_equals_is_nothing() -> None:
    examples = [closed(str(i)) for i in range(20)]
    answers = answered({str(i): i % 3 for i in range(20)})
    result = paired_difference(examples, answers, answers)
    assert (result.difference, result.interval, result.p_value) == (0, (0, 0), 1)
    with pytest.raises(DataError, match="at least one example"):
        paired_difference([], [], [])
