"""Ratings: what a model that generates and rates says of replies, beside labels (`metadata["ratings"]`).

Each attribute is measured where the data rate it: macro-F1 and AUC, the same with every reply after another's context,
and TF-IDF baselines learned from the training examples. An attribute without labels is listed with its weight, and has
no figure.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.progress import track

from sepiola.data.example import Example
from sepiola.evaluation.baselines.ratings import rating_baselines
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Cell, Figures, Headline, Table
from sepiola.evaluation.metrics.ratings import rating_figures
from sepiola.evaluation.metrics.seeds import mean_over_seeds
from sepiola.reasoning.answer import Answer

MEASURES = {"macro_f1": "macro-F1", "auc": "AUC"}
SYSTEMS = {
    "own": "this model",
    "shuffled": "contexts shuffled",
    "tfidf": "TF-IDF",
    "reply_alone": "TF-IDF, reply alone",
}


class Ratings:
    """Any set of rated replies, for a model that was taught to rate."""

    split = "test"
    takes: Sequence[str] = ("option",)

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        rated = any(example.metadata.get("ratings") for example in settings.examples)
        return rated and model.processor.attributes is not None

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        known, missing = settings.learnable(settings.data.reader)
        figures: Figures = {}
        for attribute in model.processor.attributes or ():
            name, about = attribute.name, {"weight": attribute.weight, "labels": attribute.labels}
            asked = _rate(settings.examples, name)
            labels = [int(e.metadata["ratings"][name]) for e in asked]
            figures[name] = {**about, **rating_figures([0.5] * len(asked), labels)}
            if "auc" not in figures[name]:
                continue
            train = _rate(known, name) or _rate(
                settings.learnable(None)[0], name
            )  # a stage may read it by another name
            systems = {
                "own": _rated(model, asked, name, settings),
                "shuffled": _rated(model, shuffled(asked, settings.seed), name, settings),
                **rating_baselines(train, [int(e.metadata["ratings"][name]) for e in train], asked),
            }
            found = {system: rating_figures(rows, labels, settings.seed) for system, rows in systems.items()}
            figures[name] = {**about, **found.pop("own"), "beside": found}
        whole: Figures = {"count": len(settings.examples), "ratings": figures, "seed": settings.seed}
        if missing:
            whole["baselines_left_out"] = {"baselines": "tfidf, reply_alone", "reason": missing}
        return Measurement(whole)

    def tables(self, figures: Figures) -> list[Table]:
        tables: list[Table] = []
        unrated = [f"{n} (weight {f['weight']:g})" for n, f in figures["ratings"].items() if "auc" not in f]
        for name, found in figures["ratings"].items():
            if "auc" in found:
                lines = {"own": found, **found["beside"]}
                tables.append(
                    {
                        "title": f"Ratings: {name}",
                        "columns": [{"name": title, "notes": []} for title in MEASURES.values()],
                        "lines": [
                            {
                                "name": SYSTEMS[system],
                                "own": system == "own",
                                "published": False,
                                "cells": [_cell(rows[measure]) for measure in MEASURES],
                            }
                            for system, rows in lines.items()
                        ],
                        "note": f"{found['count']:,} replies, {found['ones']:,} of them 1. Labels: {found['labels']}",
                    }
                )
        if unrated and tables:
            tables[-1]["note"] += f". These data do not rate: {', '.join(unrated)}"
        return tables

    def headlines(self, figures: Figures) -> list[Headline]:
        return [
            {
                "name": f"{name}, AUC",
                "value": f"{found['auc']['value']:.3f}",
                "note": f"macro-F1 {100 * found['macro_f1']['value']:.1f}, of {found['count']:,} replies",
            }
            for name, found in figures["ratings"].items()
            if "auc" in found
        ]

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        first = next(iter(arms.values()))
        rows: list[Figures] = []
        for arm, seeds in arms.items():
            for name in (name for name, found in seeds[0]["ratings"].items() if "auc" in found):
                over = {m: mean_over_seeds([_own(each, name, m) for each in seeds], m, 1.0) for m in MEASURES}
                rows.append({"name": arm, "attribute": name, **over})
        return {**first[0], "rating_rows": rows}

    def reward(self, example: Example, answer: Answer) -> float | None:
        return None


def _rate(examples: Sequence[Example], name: str) -> list[Example]:
    """Those that rate an attribute."""
    return [example for example in examples if name in (example.metadata.get("ratings") or {})]


def _own(figures: Figures, name: str, measure: str) -> Figures:
    found = figures["ratings"][name][measure]
    return {measure: found["value"], "interval": found["interval"]}


def _rated(model: MeasuredModel, examples: Sequence[Example], name: str, settings: Settings) -> list[float]:
    console = settings.console
    rows = track(examples, f"rating {name}", console=console, disable=not console.is_terminal, transient=True)
    return [model.rate(e.messages, [e.target])[0][name] for e in rows]


def shuffled(examples: Sequence[Example], seed: int) -> list[Example]:
    """The examples, each reply after the context of another example of its language, where there is one."""
    groups: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        groups.setdefault(str(example.metadata.get("language")), []).append(place)
    mixed = list(examples)
    for places in groups.values():
        order = random.Random(seed).sample(places, len(places))
        for place, other in zip(order, [*order[1:], *order[:1]], strict=True):
            mixed[place] = replace(examples[place], messages=examples[other].messages)
    return mixed


def _cell(found: Figures) -> Cell:
    low, high = found["interval"]
    return {"value": f"{100 * found['value']:.1f}", "note": f"{100 * low:.1f}–{100 * high:.1f}"}


BENCHMARK = Ratings()
