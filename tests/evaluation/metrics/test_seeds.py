"""The interval over seeds, beside the t distribution's tables."""

from __future__ import annotations

import pytest

from sepiola.evaluation.metrics.seeds import interval_over_seeds


@pytest.mark.parametrize(("values", "reach"), [([0.4, 0.6], 12.706 * 0.1), ([0.45, 0.55] * 6, 2.201 * 0.0150756)])
def test_the_interval_over_seeds_is_students(values: list[float], reach: float) -> None:
    """Reach: the two-sided 95% point for one less than the seeds, times the standard error; cut to a share."""
    low, high = interval_over_seeds(values, [0.1, 0.2], 1.0)
    assert (low, high) == pytest.approx((max(0.0, 0.5 - reach), min(1.0, 0.5 + reach)), abs=1e-4)


def test_a_single_seed_has_the_interval_of_its_questions() -> None:
    assert interval_over_seeds([0.5], [0.1, 0.2], 1.0) == [0.1, 0.2]
