"""How well requests are sorted into intents, and those that belong to none are told apart (Larson et al., EMNLP 2019).

A request is rejected when its score, how surely it is in scope, is below a threshold. The threshold is found on the
validation split: the highest that rejects at most a share `COST` of its requests that would be answered rightly. No
request out of scope is needed for that, and none is fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepiola.errors import DataError
from sepiola.evaluation.figures import Cell, Column, Figures, Line, Table
from sepiola.evaluation.metrics.bootstrap import RESAMPLES, percentiles

COST = 0.01
"""The share of right answers that rejecting may cost on the validation split."""
FIGURES = {"in_scope": "In scope", "unrejected": "nothing rejected", "recall": "Out of scope: recall",
           "precision": "precision", "auroc": "AUROC"}  # fmt: skip


@dataclass(frozen=True)
class Sorted:
    """Requests as a system sorts them, an array each: the `score` of each, whether it `belongs` to an intent, and
    whether its likeliest intent is the `right` one.
    """

    score: npt.NDArray[np.float64]
    belongs: npt.NDArray[np.bool_]
    right: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Sequence[tuple[float, bool, bool]]) -> Sorted:
        """Requests from score, belongs and right of each. Raises DataError unless some belong and some do not."""
        score, belongs, right = np.array(rows, dtype=np.float64).reshape(-1, 3).T
        if not belongs.any() or belongs.all():
            raise DataError(
                f"{len(rows)} requests, of which {int(belongs.sum())} are in scope: intents are measured on requests "
                "in scope and out of it; give more of them, and their reader's requests out of scope"
            )
        return cls(score, belongs > 0, (right > 0) & (belongs > 0))


def threshold_of(validation: Sorted, cost: float = COST) -> float:
    """The highest threshold that rejects at most this share of right answers; where none is right, nothing."""
    right = validation.score[validation.right]
    return float(np.sort(right)[int(cost * len(right))] if len(right) else validation.score.min())


def intent_figures(requests: Sorted, threshold: float, *, seed: int = 0, resamples: int = RESAMPLES) -> Figures:
    """Each of FIGURES as `{"value", "interval", "count"}`, 0 to 1, at one threshold.

    `in_scope` is the accuracy on requests in scope, where a rejected one is wrong, and `unrejected` the same without
    rejecting. Recall and precision are those of rejecting what is out of scope, AUROC the chance that a request in
    scope has the higher score than one out of it. Intervals are the 95% percentile bootstrap over requests, in scope
    and out of scope apart. Precision is None where nothing is rejected.
    """
    inside, outside = requests.belongs, ~requests.belongs
    rejected = requests.score < threshold
    generator = np.random.default_rng(seed)
    counts = np.zeros((resamples + 1, len(inside)))
    counts[0] = 1
    for group in (np.flatnonzero(inside), np.flatnonzero(outside)):
        counts[1:, group] = generator.multinomial(len(group), np.full(len(group), 1 / len(group)), size=resamples)
    in_scope, out_of_scope = counts @ inside, counts @ outside
    refused = counts @ rejected
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "in_scope": (counts @ (requests.right & ~rejected) / in_scope, int(inside.sum())),
            "unrejected": (counts @ requests.right / in_scope, int(inside.sum())),
            "recall": (counts @ (rejected & outside) / out_of_scope, int(outside.sum())),
            "precision": (counts @ (rejected & outside) / refused, int(rejected.sum())),
            "auroc": (_auroc(requests, counts), len(inside)),
        }
    return {name: _figure(column, count) for name, (column, count) in values.items()}


def _auroc(requests: Sorted, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """For each row of how often a request counts; requests of one score are halves."""
    levels, level = np.unique(requests.score, return_inverse=True)
    inside, outside = (np.zeros((len(counts), len(levels))) for _ in range(2))
    for table, which in ((inside, requests.belongs), (outside, ~requests.belongs)):
        order = np.argsort(level[which], kind="stable")
        places, first = np.unique(level[which][order], return_index=True)
        table[:, places] = np.add.reduceat(counts[:, which][:, order], first, axis=1)
    below = np.cumsum(outside, axis=1) - outside / 2
    won: npt.NDArray[np.float64] = (inside * below).sum(axis=1) / (inside.sum(axis=1) * outside.sum(axis=1))
    return won


def _figure(values: npt.NDArray[np.float64], count: int) -> Figures:
    """The first value, and the interval of the others."""
    value = None if np.isnan(values[0]) else float(values[0])
    return {"value": value, "interval": percentiles(values[1:]), "count": count}


def intent_tables(figures: Figures) -> list[Table]:
    """Systems in lines: this model, or the arms of a comparison, and then the baselines."""
    intents = figures["intents"]
    arms = intents.get("arms") or {"This model": intents}
    lines = [_line(name, some, own=True) for name, some in arms.items()]
    lines += [_line(name.replace("_", " "), some, own=False) for name, some in intents["baselines"].items()]
    notes = [[f"n = {intents[key]['count']:,}"] if key in ("in_scope", "recall") else [] for key in FIGURES]
    columns: list[Column] = [{"name": n, "notes": note} for n, note in zip(FIGURES.values(), notes, strict=True)]
    note = (
        "Percent, below each figure its 95% interval. A request in scope that is rejected is wrong. Each system's "
        f"threshold rejects {100 * intents['cost']:g}% of its right answers on {intents['threshold_from']}, at most."
    )
    return [{"title": "Intents", "columns": columns, "lines": lines, "note": note}]


def _line(name: str, figures: Figures, *, own: bool) -> Line:
    return {"name": name, "own": own, "published": False, "cells": [_cell(figures[key]) for key in FIGURES]}


def _cell(figure: Figures) -> Cell | None:
    if figure["value"] is None:
        return None
    note = f"{100 * figure['interval'][0]:.1f} to {100 * figure['interval'][1]:.1f}" if figure["interval"] else ""
    return {"value": f"{100 * figure['value']:.1f}", "note": note}
