"""Ratings beside labels: macro-F1 and AUC of scikit-learn, contexts shuffled, baselines, and what nobody rated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

import sepiola
from sepiola.data.example import Example, Message
from sepiola.evaluation.benchmarks import BENCHMARKS, benchmark_of
from sepiola.evaluation.benchmarks.ratings import shuffled
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.evaluation.metrics.ratings import auc, macro_f1, rating_figures
from sepiola.specs.data import DataSpec
from sepiola.specs.rating import AttributeSpec
from sepiola.text.processor import Processor
from tests.tiny import decoder


def test_figures_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.random(80) < 0.3
        ratings = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1), 1)  # with ties
        assert auc(ratings, labels) == pytest.approx(roc_auc_score(labels, ratings))
        assert macro_f1(ratings, labels) == pytest.approx(f1_score(labels, ratings >= 0.5, average="macro"))
    figures = rating_figures([0.9, 0.8, 0.2, 0.7], [1, 1, 0, 0])
    assert (
        figures["count"] == 4
        and figures["auc"]["value"] == 1
        and figures["macro_f1"]["value"] == pytest.approx((0.8 + 2 / 3) / 2)
    )
    assert rating_figures([0.5], [1]) == {"count": 1, "ones": 1}


def test_a_shuffled_set_has_every_reply_once_and_no_context_of_its_own() -> None:
    rows = [Example(f"{n}", (Message("user", (f"c{n}",)),), f"r{n}", metadata={"language": "en"}) for n in range(9)]
    mixed = shuffled(rows, 3)
    assert [e.target for e in mixed] == [e.target for e in rows]
    assert all(a.prompt != b.prompt for a, b in zip(mixed, rows, strict=True))
    assert {e.prompt for e in mixed} == {e.prompt for e in rows}


class Rater:
    """It says 1 where the context's last letter is in the reply: it needs the context."""

    spec = sepiola.build({"name": "rater", "language": decoder()}).spec
    processor = Processor(
        attributes=(AttributeSpec(name="SAFE", threshold=0.5, labels="ours"), AttributeSpec(name="INTERESTING"))
    )

    def rate(self, context: Any, replies: Any) -> list[dict[str, float]]:
        return [{"SAFE": 0.9 if context[-1].text[-1] in reply else 0.1, "INTERESTING": 0.5} for reply in replies]


def rows(count: int, offset: int = 0) -> list[Example]:
    """Replies that are right where the context's last letter stands in them."""
    made = []
    for number in range(offset, offset + count):
        letter, wrong = "甲乙丙丁"[number % 4], "甲乙丙丁"[(number + 1) % 4]
        good = number % 3 > 0
        asked = (Message("user", (f"句{number}{letter}",)),)
        about = {"language": "zh", "ratings": {"SAFE": int(good)}}
        made.append(Example(f"{number}", asked, letter if good else wrong, metadata=about))
    return made


def test_a_set_is_measured_with_what_stands_beside_it() -> None:
    data = DataSpec(reader="cdial", split="test")
    model: Any = Rater()
    settings = Settings(data, read=lambda spec: rows(60), training=lambda reader: rows(90, 100))
    assert benchmark_of(model, settings) == "ratings"
    figures = BENCHMARKS["ratings"].run(model, settings).figures
    safe, silent = figures["ratings"]["SAFE"], figures["ratings"]["INTERESTING"]
    assert safe["auc"]["value"] == safe["macro_f1"]["value"] == 1.0 and safe["count"] == 60 and safe["ones"] == 40
    assert safe["beside"]["shuffled"]["auc"]["value"] < 0.8 and {*safe["beside"]} == {
        "shuffled",
        "tfidf",
        "reply_alone",
    }
    assert silent == {"weight": 0.0, "labels": "", "count": 0, "ones": 0}
    (table,) = BENCHMARKS["ratings"].tables(figures)
    assert [line["name"] for line in table["lines"]] == [
        "this model",
        "contexts shuffled",
        "TF-IDF",
        "TF-IDF, reply alone",
    ]
    assert "60 replies, 40 of them 1. Labels: ours. These data do not rate: INTERESTING (weight 0)" in table["note"]
    (head,) = BENCHMARKS["ratings"].headlines(figures)
    assert head == {"name": "SAFE, AUC", "value": "1.000", "note": "macro-F1 100.0, of 60 replies"}
    merged = BENCHMARKS["ratings"].merge({"a": [figures], "b": [figures]})
    assert [row["name"] for row in merged["rating_rows"]] == ["a", "b"]
