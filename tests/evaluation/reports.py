"""A report with every kind of figure that its page and tables show."""

from __future__ import annotations

from typing import Any

from sepiola.evaluation.metrics.accuracy import Accuracy
from sepiola.evaluation.metrics.scienceqa import BUCKETS, PUBLISHED


def bucket(accuracy: float, count: int = 10, **more: Any) -> dict[str, Any]:
    return {"accuracy": accuracy, "interval": [accuracy - 0.1, accuracy + 0.1], "count": count, **more}


REPORT: dict[str, Any] = {
    "title": "两阶段 run",
    "name": "Ours",
    "benchmark": "scienceqa",
    **bucket(0.8123, 424),
    "unparsed": 3,
    "rows": [{"name": "with eyes", **bucket(0.8)}, {"name": "blind", **bucket(0.5), "note": "zero features"}],
    "buckets": {name: bucket(0.7, unknown=5) for name in BUCKETS},
    "baselines": {
        "nearest_neighbour": Accuracy(300, 424),
        "chance": {**bucket(0.39), "buckets": {"IMG": bucket(0.35)}},
    },
    "published": PUBLISHED,
    "rationales": {
        "count": 9,
        "bleu1": 91.2,
        "bleu4": 81.3,
        "rougeL": 71.4,
        "tfidf_cosine": None,
        "empty": 0,
    },
    "hallucination": {
        "rate": 0.125,
        "interval": [0.1, 0.15],
        "claims": 80,
        "rationales": 20,
        "share_with_false": 0.3,
    },
    "recipe": {"model": "tiny", "说明": "对齐"},
}
