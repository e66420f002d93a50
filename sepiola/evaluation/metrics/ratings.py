"""How well a model's ratings of replies agree with labels: macro-F1 at one half, and the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.bootstrap import percentiles

RESAMPLES = 500
Numbers = npt.NDArray[np.float64]


def macro_f1(ratings: Numbers, labels: npt.NDArray[np.bool_], border: float = 0.5) -> float:
    """The mean of F1 for the label 1 and for the label 0; a class that nobody names and that is not there has 0."""
    said = ratings >= border
    scores = []
    for right, found in ((labels, said), (~labels, ~said)):
        hits = float((right & found).sum())
        scores.append(2 * hits / max(1.0, float(right.sum() + found.sum())))
    return sum(scores) / 2


def auc(ratings: Numbers, labels: npt.NDArray[np.bool_]) -> float:
    """The chance that a reply labelled 1 is rated above one labelled 0; a tie counts half."""
    positives, negatives = np.sort(ratings[labels]), ratings[~labels]
    below = np.searchsorted(positives, negatives, side="left")
    level = np.searchsorted(positives, negatives, side="right") - below
    return float(1 - (below + level / 2).sum() / max(1, len(positives) * len(negatives)))


def rating_figures(ratings: Sequence[float], labels: Sequence[int], seed: int = 0) -> Figures:
    """`macro_f1` and `auc` with 95% percentile bootstrap intervals over replies, those of either label apart; `count`
    of both labels. Nothing but the count where only one label is there.
    """
    numbers, right = np.asarray(ratings, dtype=np.float64), np.asarray(labels, dtype=bool)
    figures: Figures = {"count": len(right), "ones": int(right.sum())}
    if not right.any() or right.all():
        return figures
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(right), np.flatnonzero(~right)]
    drawn = [np.concatenate([rng.choice(some, len(some)) for some in places]) for _ in range(RESAMPLES)]
    for name, measured in (("macro_f1", macro_f1), ("auc", auc)):
        spread = np.array([measured(numbers[some], right[some]) for some in drawn])
        figures[name] = {"value": measured(numbers, right), "interval": percentiles(spread)}
    return figures
