"""SAMME: AdaBoost for several options (Zhu, Zou, Rosset and Hastie, "Multi-class AdaBoost", 2009).

A member with the weighted error `e` has `α = log((1 - e) / e) + log(K - 1)` of a vote, and the weight of each question
that it got wrong is multiplied by `exp(α)`. That is for one number of options K. Here questions have their own: the
exponential loss is a sum over questions, so `e` and `α` are computed apart for the questions of each K, by the same
formula. With one K for all it is SAMME, and with K = 2 AdaBoost, as `log(1) = 0`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sepiola.errors import DataError


@dataclass(frozen=True)
class Round:
    """What one member earned: its `alphas` by number of options, and the `weights` of the next round, which sum to 1.

    A member that is no better than chance with K options (`e >= 1 - 1/K`) has no vote there: it is left out of
    `alphas`. Where `alphas` is empty, boosting stops and the member is dropped. `perfect`: it got everything right, so
    that there is nothing to teach another.
    """

    alphas: Mapping[int, float]
    weights: tuple[float, ...]
    perfect: bool


def samme_round(weights: Sequence[float], options: Sequence[int], right: Sequence[bool]) -> Round:
    """One round of boosting, of each question's weight, its number of options and whether the member got it right.

    An error of nothing counts as half a question's. Raises DataError for lists of unequal lengths, for weights that do
    not sum to more than 0, and for a question with fewer than two options.
    """
    shares, sizes, wrong = np.asarray(weights, float), np.asarray(options), ~np.asarray(right, bool)
    if not len(shares) == len(sizes) == len(wrong) or not shares.sum() > 0 or (shares < 0).any():
        raise DataError("boosting: expected a weight from 0 up, a number of options and a verdict for each question")
    if (sizes < 2).any():
        raise DataError("boosting: a question with fewer than two options cannot be got wrong; leave it out")
    alphas: dict[int, float] = {}
    factors = np.zeros(len(shares))
    for size in map(int, np.unique(sizes)):
        here = sizes == size
        if not (whole := shares[here].sum()) > 0:
            continue
        error = max(float(shares[here & wrong].sum() / whole), 0.5 / int(here.sum()))
        if error < 1 - 1 / size:
            alphas[size] = math.log((1 - error) / error) + math.log(size - 1)
            factors[here & wrong] = alphas[size]
    grown = shares * np.exp(factors)
    return Round(alphas, tuple((grown / grown.sum()).tolist()), perfect=not wrong.any())
