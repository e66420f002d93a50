"""The intervals of the bootstrap, beside the plain one that draws items one by one."""

from __future__ import annotations

import numpy as np
import pytest

from sepiola.evaluation.metrics.bootstrap import drawn_counts, mean_interval, percentiles, ratio_interval


def test_the_interval_is_that_of_items_drawn_one_by_one() -> None:
    random = np.random.default_rng(3)
    totals, counts = random.integers(0, 5, 80).astype(float), random.integers(1, 6, 80).astype(float)
    drawn = random.integers(0, 80, (20_000, 80))
    low, high = np.quantile(totals[drawn].sum(1) / counts[drawn].sum(1), (0.025, 0.975))
    assert ratio_interval(totals, counts, resamples=20_000) == pytest.approx([low, high], abs=0.01)


def test_each_draw_holds_as_many_items_as_there_are() -> None:
    drawn = drawn_counts(7, seed=1, resamples=50)
    assert drawn.shape == (50, 7) and (drawn.sum(axis=1) == 7).all()


def test_the_mean_of_ones_and_noughts() -> None:
    interval = mean_interval([0.0, 1.0] * 50)
    assert interval is not None and 0.38 < interval[0] < 0.45 and 0.55 < interval[1] < 0.62
    assert mean_interval([1.0] * 5) == [1.0, 1.0]
    assert mean_interval([0.0, 1.0] * 50, seed=1) != interval


def test_what_is_not_defined_is_left_out() -> None:
    assert percentiles(np.array([np.nan, 2.0, 2.0])) == [2.0, 2.0]
    assert percentiles(np.array([np.nan])) is None
    assert ratio_interval([1, 0], [1, 0]) == [1.0, 1.0]  # draws without a count say nothing
    assert ratio_interval([0, 0], [0, 0]) is None
