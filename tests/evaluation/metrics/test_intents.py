"""Figures of intents by hand and beside scikit-learn's; the threshold is validation's alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from sepiola.errors import DataError
from sepiola.evaluation.metrics.intents import Sorted, intent_figures, intent_tables, threshold_of


def drawn(count: int, seed: int = 0) -> Sorted:
    rng = np.random.default_rng(seed)
    belongs = rng.random(count) < 0.7
    score = np.round(rng.normal(belongs * 1.5, 1.0), 1)  # with ties
    return Sorted(score, belongs, belongs & (rng.random(count) < 0.9))


def test_figures_by_hand() -> None:
    rows = [(3.0, True, True), (2.0, True, True), (1.0, True, False), (0.5, True, True), (2.5, False, False),
            (0.1, False, False)]  # fmt: skip
    figures = intent_figures(Sorted.of(rows), 1.0)
    values = {name: (figure["value"], figure["count"]) for name, figure in figures.items()}
    assert values == {
        "in_scope": (2 / 4, 4),  # the one at 0.5 is rejected, the one at 1.0 is wrong
        "unrejected": (3 / 4, 4),
        "recall": (1 / 2, 2),
        "precision": (1 / 2, 2),
        "auroc": (5 / 8, 6),
    }


def test_the_area_is_scikit_learns_and_its_interval_holds_it() -> None:
    requests = drawn(800)
    figure = intent_figures(requests, 0.0)["auroc"]
    assert figure["value"] == pytest.approx(roc_auc_score(requests.belongs, requests.score), abs=1e-12)
    assert figure["interval"][0] < figure["value"] < figure["interval"][1]


def test_intervals_are_as_wide_as_theirs_by_formula_and_the_same_again() -> None:
    requests = drawn(2000)
    figures = intent_figures(requests, 0.3)
    assert figures == intent_figures(requests, 0.3) and figures != intent_figures(requests, 0.3, seed=1)
    for name in ("in_scope", "recall", "unrejected"):
        share, (low, high), count = (figures[name][key] for key in ("value", "interval", "count"))
        assert high - low == pytest.approx(2 * 1.96 * (share * (1 - share) / count) ** 0.5, rel=0.12), name


def test_the_threshold_costs_its_share_of_right_answers_and_ignores_the_rest() -> None:
    score = np.arange(300, dtype=np.float64)
    belongs, right = score >= 100, score >= 100
    validation = Sorted(score, belongs, right)
    threshold = threshold_of(validation, 0.01)
    assert threshold == 102.0 and int((right & (score < threshold)).sum()) == 2
    assert threshold_of(validation, 0.0) == 100.0
    moved = Sorted(np.where(belongs, score, score + 1000), belongs, right)  # out of scope, and far surer
    assert threshold_of(moved, 0.01) == threshold
    assert threshold_of(Sorted(score, belongs, np.zeros(300, dtype=bool))) == 0.0


def test_nothing_rejected_has_no_precision_and_one_kind_of_request_no_figures() -> None:
    figures = intent_figures(drawn(50), -100.0)
    assert figures["precision"]["value"] is None and figures["recall"]["value"] == 0.0
    assert figures["in_scope"]["value"] == figures["unrejected"]["value"]
    about = {"cost": 0.01, "threshold_from": "val", "baselines": {"majority": figures}}
    (table,) = intent_tables({"intents": {**figures, **about}})
    assert [line["name"] for line in table["lines"]] == ["This model", "majority"]
    assert table["lines"][0]["cells"][3] is None
    for belongs in (True, False):
        with pytest.raises(DataError, match="measured on requests in scope and out of it"):
            Sorted.of([(1.0, belongs, belongs), (2.0, belongs, False)])
