"""What a model says when it is asked whether a thing is in the picture: POPE's figures (arXiv 2305.10355).

"Yes" is the positive class: precision falls when the model sees what is not there, recall when it overlooks what is.
The share of answers "yes" tells a model that always agrees; half of the questions are right to affirm.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.evaluation.figures import Cell, Column, Figures, Line, Table
from sepiola.evaluation.metrics.accuracy import verdicts
from sepiola.evaluation.metrics.bootstrap import RESAMPLES, drawn_counts, percentiles
from sepiola.reasoning.answer import Answer

FIGURES = {"accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1", "yes": "Yes"}
_YES, _NO = 0, 1


def pope_figures(
    examples: Sequence[Example], answers: Sequence[Answer], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Figures]:
    """For each setting, and for each language in it (`random, zh`), each of FIGURES as `{"value", "interval"}`, 0 to 1.

    Beside them `count` and `unparsed`, answers that are neither yes nor no: they are wrong, and no yes. The interval is
    the 95% bootstrap over pictures. A figure whose denominator is 0 is None. Raises DataError when ids do not match and
    for a question whose two choices are not yes and no, in this order.
    """
    rows: defaultdict[str, list[tuple[Example, int | None]]] = defaultdict(list)
    for verdict in verdicts(examples, answers):
        example, question = verdict.example, verdict.example.question
        if question is None or len(question.choices) != 2 or "setting" not in example.metadata:
            raise DataError(f"example '{example.id}': expected a question of yes and no, and its setting")
        setting, language = example.metadata["setting"], example.metadata["language"]
        for name in (setting, f"{setting}, {language}"):
            rows[name].append((example, verdict.answer.choice))
    return {name: _figures(asked, seed, resamples) for name, asked in sorted(rows.items(), key=_order)}


def _order(item: tuple[str, object]) -> tuple[int, str]:
    """Settings from the easiest on, each before its languages."""
    settings = ("random", "popular", "adversarial")
    setting = item[0].split(",")[0]
    return (settings.index(setting) if setting in settings else len(settings), item[0])


def _figures(asked: Sequence[tuple[Example, int | None]], seed: int, resamples: int) -> Figures:
    by_picture: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for example, choice in asked:
        assert example.question is not None
        there, said = example.question.answer == _YES, choice == _YES
        kind = ("true " if there == said else "false ") + ("yes" if said else "no")
        counts = by_picture[str(example.metadata["group"])]
        counts[kind if choice in (_YES, _NO) else "missed" if there else "unclear"] += 1
    kinds = ("true yes", "false yes", "true no", "false no", "missed", "unclear")
    table = np.array([[counts[kind] for kind in kinds] for counts in by_picture.values()], dtype=np.float64)
    whole, spread = _shares(table.sum(axis=0)[None]), _shares(drawn_counts(len(table), seed, resamples) @ table)
    figures: Figures = {"count": len(asked), "unparsed": sum(c not in (_YES, _NO) for _, c in asked)}
    for index, name in enumerate(FIGURES):
        value = whole[0, index]
        figures[name] = {
            "value": None if np.isnan(value) else float(value),
            "interval": percentiles(spread[:, index]),
        }
    return figures


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """FIGURES of rows of counts: `(rows, 5)`, NaN where a denominator is 0."""
    true_yes, false_yes, true_no, false_no, missed = counts.T[:5]
    everything = counts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack(
            [
                (true_yes + true_no) / everything,
                true_yes / (true_yes + false_yes),
                true_yes / (true_yes + false_no + missed),
                2 * true_yes / (2 * true_yes + false_yes + false_no + missed),
                (true_yes + false_yes) / everything,
            ],
            axis=1,
        )


def pope_tables(figures: Figures) -> list[Table]:
    """The table of a set of such questions, settings and their languages in lines; none without its figures."""
    if not figures.get("pope"):
        return []
    lines: list[Line] = [
        {"name": name, "own": "," not in name, "published": False, "cells": _cells(shares)}
        for name, shares in figures["pope"].items()
    ]
    columns: list[Column] = [{"name": name, "notes": []} for name in (*FIGURES.values(), "Unparsed")]
    note = "Percent; below each figure its 95% interval over pictures. Half of the questions are right to affirm."
    return [{"title": "Is it there?", "columns": columns, "lines": lines, "note": note}]


def _cells(shares: Figures) -> list[Cell | None]:
    unparsed: Cell = {"value": f"{shares['unparsed']:,}", "note": f"of {shares['count']:,}"}
    return [*(_cell(shares[key]) for key in FIGURES), unparsed]


def _cell(figure: Figures) -> Cell | None:
    if figure["value"] is None:
        return None
    low, high = figure["interval"]
    return {"value": f"{100 * figure['value']:.1f}", "note": f"{100 * low:.1f} to {100 * high:.1f}"}
