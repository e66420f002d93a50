"""The 95% percentile bootstrap (Efron, 1979): whole items are drawn again, with what hangs together in one item."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
Numbers = npt.NDArray[np.float64]


def drawn_counts(items: int, seed: int = 0, resamples: int = RESAMPLES) -> npt.NDArray[np.int64]:
    """How often each item is drawn: `(resamples, items)`, each row of as many draws as there are items."""
    return np.random.default_rng(seed).multinomial(items, np.full(items, 1 / items), size=resamples)


def percentiles(values: npt.NDArray[Any]) -> list[float] | None:
    """The interval that holds 95% of the values, those aside that are not defined (NaN); None where none is."""
    known = values[~np.isnan(values)]
    return [float(value) for value in np.quantile(known, (0.025, 0.975))] if len(known) else None


def ratio_interval(
    totals: npt.ArrayLike, counts: npt.ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> list[float] | None:
    """Of Σ totals / Σ counts over items `(items,)`; None where every count is 0. With counts of 1, of the mean."""
    # Equal items are drawn together: a multinomial draw of kinds is the same bootstrap, and far smaller.
    kinds, numbers = np.unique(np.stack([totals, counts], axis=1), axis=0, return_counts=True)
    items = int(numbers.sum())
    sums = np.random.default_rng(seed).multinomial(items, numbers / items, size=resamples) @ kinds
    with np.errstate(divide="ignore", invalid="ignore"):
        return percentiles(np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan))


def mean_interval(values: npt.ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> list[float] | None:
    """Of the mean of values `(items,)`."""
    return ratio_interval(values, np.ones_like(np.asarray(values, dtype=float)), seed, resamples)
