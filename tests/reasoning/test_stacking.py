"""The conditional logit against an optimiser's, and scores out of fold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from sepiola.data.example import Example
from sepiola.data.folds import group_of
from sepiola.errors import DataError
from sepiola.reasoning.stacking import LEAST, Scores, Stacked, fit_stacked, log_scores, out_of_fold
from tests.tiny import question_example


def drawn(count: int, weights: Sequence[float], seed: int = 0) -> tuple[list[list[Scores]], list[int]]:
    """Questions of two to five options whose answers follow a conditional logit of these weights."""
    rng = np.random.default_rng(seed)
    questions, answers = [], []
    for _ in range(count):
        scores = rng.normal(size=(len(weights), int(rng.integers(2, 6))))
        questions.append([tuple(member) for member in scores.tolist()])
        likely = np.exp(np.asarray(weights) @ scores)
        answers.append(int(rng.choice(scores.shape[1], p=likely / likely.sum())))
    return questions, answers


def test_the_weights_are_those_of_the_greatest_penalised_likelihood() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    questions, answers = drawn(300, [1.5, -0.5, 0.0])
    fitted = fit_stacked(questions, answers, penalty=3.0)
    centred = [np.asarray(q).T - np.asarray(q).mean(axis=1) for q in questions]
    scale = np.concatenate(centred).std(axis=0)

    def loss(w: np.ndarray) -> float:
        total = 1.5 * float((w * scale) @ (w * scale))
        for x, y in zip(centred, answers, strict=True):
            logits = x @ w
            total += float(np.logaddexp.reduce(logits) - logits[y])
        return total

    best = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8})
    assert fitted.weights == pytest.approx(best.x, abs=1e-4)


def test_it_finds_the_weights_that_answers_follow() -> None:
    fitted = fit_stacked(*drawn(4000, [1.5, -0.5, 0.0]))
    assert fitted.weights == pytest.approx((1.5, -0.5, 0.0), abs=0.12)
    likely = fitted.probabilities([(2.0, 0.0), (0.0, 0.0), (5.0, -5.0)])
    assert sum(likely) == pytest.approx(1) and likely[0] > 0.9


def test_a_shift_of_a_members_scores_changes_nothing_and_units_are_its_own() -> None:
    questions, answers = drawn(200, [1.0, 0.5])
    moved = [[tuple(100 * s + 7 for s in one[0]), one[1]] for one in questions]
    plain, other = fit_stacked(questions, answers), fit_stacked(moved, answers)
    for before, after in zip(questions, moved, strict=True):
        assert other.probabilities(after) == pytest.approx(plain.probabilities(before), abs=1e-6)


def test_a_member_that_is_always_right_gets_finite_weights() -> None:
    questions: list[list[Scores]] = [[(1.0, 0.0), (0.0, 0.0)], [(0.0, 1.0), (0.0, 0.0)]] * 10
    fitted = fit_stacked(questions, [0, 1] * 10)
    assert all(map(math.isfinite, fitted.weights)) and fitted.weights[0] > 1 and fitted.weights[1] == 0


def test_probabilities_of_nothing_are_bounded() -> None:
    assert log_scores((1.0, 0.0)) == (0.0, LEAST)


class LearnedByHeart:
    """Gives the right option 1 where it has seen the example's group, and 0 to all otherwise."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.seen = {group_of(e) for e in examples}

    def scores(self, examples: Sequence[Example]) -> list[Scores]:
        return [
            tuple(float(i == e.question.answer and group_of(e) in self.seen) for i in range(len(e.question.choices)))
            for e in examples
            if e.question is not None
        ]


def test_no_member_scores_what_it_was_trained_on() -> None:
    examples = [question_example(f"e{n}", "q", ("a", "b", "c"), n % 3, group=f"g{n // 2}") for n in range(40)]
    trained: list[set[str]] = []

    def train(part: list[Example]) -> LearnedByHeart:
        trained.append({e.id for e in part})
        return LearnedByHeart(part)

    found = out_of_fold(examples, 5, 0, train)
    assert found == [(0.0, 0.0, 0.0)] * 40, "not one score knows its answer"
    assert len(trained) == 5
    for example in examples:
        assert sum(example.id not in ids for ids in trained) == 1, "each is held out once"
    assert LearnedByHeart(examples).scores(examples) != found


@pytest.mark.parametrize(
    ("questions", "answers", "fault"),
    [
        ([], [], "0 scored questions"),
        ([[(0.0, 1.0)]], [2], "answer 2 is none"),
        ([[(0.0, 1.0), (0.0,)]], [0], "all for the same options"),
        ([[(0.0, 1.0)], [(0.0, 1.0), (1.0, 0.0)]], [0, 0], "scores of 1 members"),
        ([[(0.0, -math.inf)]], [0], "no finite number"),
    ],
)
def test_scores_that_do_not_fit_are_refused(questions: list[list[Scores]], answers: list[int], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        fit_stacked(questions, answers)
    with pytest.raises(DataError, match="2 members"):
        Stacked((1.0, 1.0)).probabilities([(0.0, 1.0)])
