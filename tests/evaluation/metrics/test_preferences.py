"""Agreement with preferences: tau is SciPy's, pairs are those counted by hand, and length alone is seen through."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from sepiola.data.example import Example, Message
from sepiola.data.preferences import Completion, preference
from sepiola.errors import DataError
from sepiola.evaluation.metrics.preferences import preference_figures, preference_tables, tau


def asked(name: str, *completions: tuple[str, float]) -> Example:
    return preference(name, [Message("user", (name,))], [Completion(*one) for one in completions])


def test_tau_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        scores, truth = rng.integers(0, 4, 7).tolist(), rng.integers(0, 4, 7).tolist()
        assert tau(scores, truth) == pytest.approx(kendalltau(scores, truth).statistic)
    assert tau([1, 2, 3], [3, 2, 1]) == -1
    assert tau([1, 1, 1], [3, 2, 1]) == 0


def test_pairs_are_counted_and_ties_of_scores_are_half_right() -> None:
    examples = [
        asked("one", ("a", 3.0), ("bb", 2.0), ("ccc", 2.0)),
        asked("二", ("好好好好", 1.0), ("坏", 0.0)),
        asked("tied", ("x", 1.0), ("y", 1.0)),
    ]
    figures = preference_figures(examples, [[5.0, 1.0, 5.0], [0.0, 1.0], [1.0, 2.0]])
    assert figures["count"] == 3, "the pair of equal truth, and the tied prompt, are none"
    assert figures["prompts"] == 2
    assert figures["accuracy"] == pytest.approx((1 + 0.5 + 0) / 3)
    first = kendalltau([5.0, 1.0, 5.0], [3.0, 2.0, 2.0]).statistic
    assert figures["kendall_tau"]["value"] == pytest.approx((first - 1) / 2)
    low, high = figures["interval"]
    assert low <= figures["accuracy"] <= high


def test_length_alone_falls_where_lengths_are_alike() -> None:
    long = [asked(f"l{n}", ("word " * (5 + n % 3), 1.0), ("word", 0.0)) for n in range(40)]
    alike = [asked(f"a{n}", ("good", 1.0), ("awful" if n % 2 else "bad", 0.0)) for n in range(40)]
    examples = [*long, *alike]
    scores = [[float(len(one["text"])) for one in example.metadata["completions"]] for example in examples]
    figures = preference_figures(examples, scores)
    assert figures["accuracy"] == pytest.approx(0.75)
    assert figures["alike_in_length"]["accuracy"] == pytest.approx(0.5)
    low, high = figures["interval"]
    assert (low, high) == pytest.approx((0.645, 0.832), abs=0.002), "Wilson's, of a pair a prompt"
    (table,) = preference_tables({**figures, "baselines": {"longer": {"accuracy": 0.5, "interval": [0.4, 0.6]}}})
    assert [line["name"] for line in table["lines"]] == ["This model", "the longer one"]
    assert table["lines"][0]["cells"][0] == {"value": "75.0", "note": "64.5–83.2"}


def test_without_anything_better_there_is_nothing_to_measure() -> None:
    with pytest.raises(DataError, match="no completion of 1 prompts is better than another"):
        preference_figures([asked("e", ("x", 1.0), ("y", 1.0))], [[0.0, 1.0]])
