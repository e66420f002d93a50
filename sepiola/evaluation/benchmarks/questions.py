"""Benchmarks: which buckets, baselines and judges each dataset's figures come with. `BENCHMARKS` lists them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sepiola.data.example import Example
from sepiola.errors import SpecError
from sepiola.evaluation.baselines.questions import chance, linear_answers, majority_answers, nearest_neighbour_answers
from sepiola.evaluation.metrics.accuracy import accuracy
from sepiola.evaluation.metrics.hallucination import Judge, hallucination
from sepiola.evaluation.metrics.pope import pope_figures
from sepiola.evaluation.metrics.rationales import rationale_metrics
from sepiola.evaluation.metrics.scienceqa import PUBLISHED, buckets_by, members_by, scienceqa_buckets, scienceqa_members
from sepiola.evaluation.metrics.vqa import vqa_figures
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import nearest
from sepiola.tidepool import hallucinated


@dataclass(frozen=True)
class Benchmark:
    """`buckets` are metadata keys, or the official ones of ScienceQA; `judge` finds false claims in rationales.

    `labels`: all questions have the same options, so the text baseline is a classifier. `there`: whether a thing is in
    the picture is asked, so yes and no are counted.
    """

    buckets: tuple[str, ...] = ()
    official: bool = False
    judge: Judge | None = None
    labels: bool = False
    there: bool = False


BENCHMARKS: dict[str, Benchmark] = {
    "scienceqa": Benchmark(official=True),
    "tidepool": Benchmark(buckets=("language", "family", "aspect"), judge=hallucinated),
    "easy_vqa": Benchmark(),
    "daquar": Benchmark(),
    "thucnews": Benchmark(buckets=("topic",), labels=True),
    "pope": Benchmark(buckets=("setting", "language"), there=True),
}

CAPTIONS = ("flickr8k", "coco_mini")
"""Datasets that ask no question but for captions, of which `caption_figures` makes the figures."""


def evaluate(
    name: str, examples: Sequence[Example], answers: Sequence[Answer], train: Sequence[Example] = ()
) -> dict[str, Any]:
    """All figures of one benchmark: accuracy, interval, count, unparsed, buckets, baselines, and what applies of
    rationales, hallucination and published results.

    `train` are the questions that the majority and text baselines learn from. Raises SpecError for an
    unknown benchmark and DataError when ids do not match.
    """
    if name not in BENCHMARKS:
        raise SpecError(f"no benchmark is named '{name}'; {nearest(name, BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    figures: dict[str, Any] = {"benchmark": name, **accuracy(examples, answers).to_dict()}
    figures["buckets"] = _buckets(benchmark, examples, answers)
    figures["baselines"] = _baselines(benchmark, examples, train)
    if benchmark.official:
        figures["published"] = PUBLISHED
    if opened := vqa_figures(examples, answers):
        figures["vqa"] = opened
    if benchmark.there:
        figures["pope"] = pope_figures(examples, answers)
    if any(a.rationale is not None for a in answers):
        figures["rationales"] = rationale_metrics(examples, answers)
        if benchmark.judge is not None:
            figures["hallucination"] = hallucination(examples, answers, benchmark.judge)
    return figures


def _buckets(benchmark: Benchmark, examples: Sequence[Example], answers: Sequence[Answer]) -> dict[str, Any]:
    if benchmark.official:
        return scienceqa_buckets(examples, answers)
    tables: dict[str, Any] = {}
    for key in benchmark.buckets:
        if any(e.metadata.get(key) is not None for e in examples):
            tables[key] = buckets_by(key, examples, answers)
    return tables


def _chance_buckets(benchmark: Benchmark, examples: Sequence[Example], train: Sequence[Example]) -> dict[str, Any]:
    """What guessing earns in each bucket, laid out as `_buckets` does."""
    if benchmark.official:
        return {name: chance(found, train).to_dict() for name, found in scienceqa_members(examples).items()}
    tables = {key: members_by(key, examples) for key in benchmark.buckets}
    return {
        key: {value: chance(found, train).to_dict() for value, found in table.items()}
        for key, table in tables.items()
        if table
    }


def _baselines(
    benchmark: Benchmark, examples: Sequence[Example], train: Sequence[Example]
) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {
        "chance": {**chance(examples, train).to_dict(), "buckets": _chance_buckets(benchmark, examples, train)}
    }
    if not train:
        return found
    text = ("linear", linear_answers) if benchmark.labels else ("nearest_neighbour", nearest_neighbour_answers)
    for name, guess in (("majority", majority_answers), text):
        answers = guess(train, examples)
        found[name] = {
            **accuracy(examples, answers).to_dict(),
            "buckets": _buckets(benchmark, examples, answers),
        }
        if opened := vqa_figures(examples, answers):
            found[name] = {**found[name], "vqa": opened}
    return found
