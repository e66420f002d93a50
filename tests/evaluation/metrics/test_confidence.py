"""Figures of confidence equal their definitions by brute force, ties included; and scikit-learn's where it is there."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from sepiola.evaluation.metrics.confidence import (
    accuracy_of_surest,
    auroc,
    confidence_figures,
    expected_calibration_error,
    fitted_temperature,
)
from sepiola.reasoning.answer import Answer
from tests.tiny import question_example


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences with ties, and right answers that are likelier where they are high."""
    rng = random.Random(seed)
    confidences = [rng.randint(0, 8) / 8 for _ in range(rng.randint(2, 40))]
    return np.array(confidences), np.array([float(rng.random() < c) for c in confidences])


@pytest.mark.parametrize("seed", range(30))
def test_figures_equal_their_definitions(seed: int) -> None:
    confidences, right = drawn(seed)
    pairs = [
        float(c > d) + 0.5 * float(c == d)
        for (c, a), (d, b) in itertools.product(zip(confidences, right, strict=True), repeat=2)
        if a and not b
    ]
    assert auroc(confidences, right) == (pytest.approx(np.mean(pairs)) if pairs else None)
    bins: dict[int, list[tuple[float, float]]] = {}
    for c, a in zip(confidences, right, strict=True):
        bins.setdefault(min(int(10 * c), 9), []).append((c, a))
    gap = sum(len(b) * abs(np.mean([c for c, _ in b]) - np.mean([a for _, a in b])) for b in bins.values())
    assert expected_calibration_error(confidences, right) == pytest.approx(gap / len(right))


def test_equally_sure_answers_count_by_their_mean() -> None:
    confidences, right = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    assert accuracy_of_surest(confidences, right, 1) == 1
    assert accuracy_of_surest(confidences, right, 3) == pytest.approx((1 + 2 / 3) / 3)
    assert accuracy_of_surest(confidences, right, 5) == pytest.approx(0.4)


def test_auroc_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    confidences, right = drawn(3)
    assert auroc(confidences, right) == pytest.approx(metrics.roc_auc_score(right, confidences))


def test_the_fitted_temperature_has_the_least_loss() -> None:
    def loss(temperature: float) -> float:
        return (np.log(temperature) - np.log(0.37)) ** 2

    assert fitted_temperature(loss) == pytest.approx(0.37, rel=1e-3)


def test_figures_need_a_confidence_of_every_answer() -> None:
    examples = [question_example(str(i), "?", ("a", "b"), 0) for i in range(4)]
    answers = [Answer(str(i), "", int(i > 1), confidence=1 - i / 8) for i in range(4)]
    found = confidence_figures(examples, answers)
    assert found["auroc"] == 1 and found["surest_half"]["accuracy"] == 1 and found["surest_half"]["gain"] == 0.5
    assert [(p["coverage"], p["accuracy"]) for p in found["risk_coverage"]] == [
        (0.25, 1),
        (0.5, 1),
        (0.75, pytest.approx(2 / 3)),
        (1, 0.5),
    ]
    assert confidence_figures(examples, [*answers[:3], Answer("3", "")]) == {}
