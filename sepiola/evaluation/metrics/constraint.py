"""What a constraint earns: the same requests asked with it and without it, split by split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sepiola.evaluation.figures import Cell, Column, Figures, Line, Table
from sepiola.evaluation.metrics.accuracy import difference_of
from sepiola.evaluation.metrics.calls import Judged, share

COLUMNS = ("n", "With", "Without", "With − without", "Right with alone", "Right without alone", "Unread without")


def constraint_figures(constrained: Sequence[Judged], free: Sequence[Judged]) -> Figures:
    """The requests right `with` and `without` the constraint, of all and `by` language and kind.

    `difference` is that of the two with its 95% interval, `only_with` and `only_without` are the requests right in one
    alone, with McNemar's exact `p_value`; `unparsed` replies without the constraint could not be read.
    """
    groups: defaultdict[str, list[tuple[Judged, Judged]]] = defaultdict(list)
    for pair in zip(constrained, free, strict=True):
        language = str(pair[0].example.metadata.get("language", "other"))
        groups[language].append(pair)
        groups[f"{language}, {_kind(pair[0])}"].append(pair)
    everything = list(zip(constrained, free, strict=True))
    return {**_figures(everything), "by": {name: _figures(some) for name, some in sorted(groups.items())}}


def _kind(row: Judged) -> str:
    about = row.example.metadata
    if row.irrelevant:
        return "near miss" if about.get("near_miss") else "irrelevant"
    several = "several calls" if len(about["calls"]) > 1 else "one call"
    return f"{several}, picture needed" if about.get("picture") == "needed" else several


def _figures(pairs: Sequence[tuple[Judged, Judged]]) -> Figures:
    outcomes = [(first.right, second.right) for first, second in pairs]
    found = difference_of(outcomes)
    return {
        "count": found.count,
        "with": share([first for first, _ in outcomes]),
        "without": share([second for _, second in outcomes]),
        "difference": found.difference,
        "interval": list(found.interval),
        "only_with": found.only_first,
        "only_without": found.only_second,
        "p_value": found.p_value,
        "unparsed": sum(second.calls is None for _, second in pairs),
    }


def constraint_tables(figures: Figures | None) -> list[Table]:
    """Splits in lines, with the constraint and without it in columns; none where it was not left out."""
    if figures is None:
        return []
    lines: list[Line] = [
        {"name": name, "own": name == "All", "published": False, "cells": _cells(some)}
        for name, some in {"All": figures, **figures["by"]}.items()
    ]
    columns: list[Column] = [{"name": name, "notes": []} for name in COLUMNS]
    note = (
        "Percent of requests that are answered rightly, the same ones with the constraint and without it; below each "
        "figure its 95% interval. A reply that could not be read is wrong."
    )
    return [{"title": "With and without the constraint", "columns": columns, "lines": lines, "note": note}]


def _cells(figures: Figures) -> list[Cell | None]:
    shares = [_percent(figures[key]["value"], figures[key]["interval"]) for key in ("with", "without")]
    counts = [_count(figures[key]) for key in ("only_with", "only_without", "unparsed")]
    difference = _percent(figures["difference"], figures["interval"], sign="+")
    difference["note"] += f"; p = {figures['p_value']:.2g}"
    return [_count(figures["count"]), *shares, difference, *counts]


def _percent(value: float, interval: Sequence[float], sign: str = "") -> Cell:
    return {"value": f"{100 * value:{sign}.1f}", "note": f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"}


def _count(number: int) -> Cell:
    return {"value": f"{number:,}", "note": ""}
