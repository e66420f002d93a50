"""How far a confidence can be trusted: calibration (ECE, Guo et al., arXiv 1706.04599), whether it tells right answers
from wrong ones (AUROC), and how right the surest answers are (the risk-coverage curve, Geifman and El-Yaniv, arXiv
1705.08500).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sepiola.data.example import Example
from sepiola.evaluation.figures import Figures, Headline
from sepiola.evaluation.metrics.accuracy import verdicts, wilson_interval
from sepiola.reasoning.answer import Answer

BINS = 10
Numbers = npt.NDArray[np.float64]


def confidence_figures(examples: Sequence[Example], answers: Sequence[Answer]) -> Figures:
    """`ece`, `auroc` (None where all are right, or none), `surest_half` (accuracy, its interval, and the gain over all)
    and `risk_coverage`: points of `coverage` and `accuracy`. Empty where an answer has no confidence.
    """
    judged = verdicts(examples, answers)
    sure = [v.answer.confidence for v in judged if v.answer.confidence is not None]
    if len(sure) < len(judged) or not judged:
        return {}
    confidences, right = np.array(sure), np.array([v.correct for v in judged], dtype=float)
    count = max(1, len(right) // 2)
    half = accuracy_of_surest(confidences, right, count)
    shares = [*dict.fromkeys(math.ceil(len(right) * tenth / 10) for tenth in range(1, 11))]
    return {
        "ece": expected_calibration_error(confidences, right),
        "auroc": auroc(confidences, right),
        "surest_half": {
            "accuracy": half,
            "interval": list(wilson_interval(half * count, count)),
            "count": count,
            "gain": half - float(right.mean()),
        },
        "risk_coverage": [
            {"coverage": n / len(right), "accuracy": accuracy_of_surest(confidences, right, n)} for n in shares
        ],
    }


def expected_calibration_error(confidences: Numbers, right: Numbers, bins: int = BINS) -> float:
    """The mean distance of accuracy from confidence over bins of equal width, weighted by their answers."""
    places = np.minimum((confidences * bins).astype(int), bins - 1)
    gaps = [abs(float((right - confidences)[places == place].sum())) for place in range(bins)]
    return sum(gaps) / len(right)


def auroc(confidences: Numbers, right: Numbers) -> float | None:
    """How probable it is that a right answer is surer than a wrong one, ties counting half (Mann and Whitney, 1947)."""
    _, places, counts = np.unique(confidences, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    good, bad = right.sum(), (1 - right).sum()
    if not good or not bad:
        return None
    return float((ranks[right == 1].sum() - good * (good + 1) / 2) / (good * bad))


def accuracy_of_surest(confidences: Numbers, right: Numbers, count: int) -> float:
    """The accuracy of so many of the surest answers; of those that are equally sure, by the mean of any choice."""
    last = np.sort(confidences)[::-1][count - 1]
    surer, equal = right[confidences > last], right[confidences == last]
    return float((surer.sum() + equal.mean() * (count - len(surer))) / count)


def fitted_temperature(loss: Callable[[float], float], low: float = 0.02, high: float = 50.0) -> float:
    """The temperature of the least loss between two bounds, by golden sections of its logarithm."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = math.log(low), math.log(high)
    while right - left > 1e-4:
        first, second = right - ratio * (right - left), left + ratio * (right - left)
        if loss(math.exp(first)) <= loss(math.exp(second)):
            right = second
        else:
            left = first
    return math.exp((left + right) / 2)


def confidence_headlines(figures: Figures) -> list[Headline]:
    """The calibration error, and what the surest half gains."""
    found = figures.get("confidence")
    if not found:
        return []
    area = "" if found["auroc"] is None else f"AUROC {found['auroc']:.3f}; "
    half = found["surest_half"]
    note = f"{area}surest half {100 * half['accuracy']:.1f}% right"
    return [{"name": "Calibration error", "value": f"{found['ece']:.3f}", "note": note}]
