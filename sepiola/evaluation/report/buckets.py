"""The tables of accuracies: systems in lines, all questions and then each bucket of them in columns."""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.evaluation.figures import Cell, Column, Figures, Line, Table


def bucket_tables(report: Figures) -> list[Table]:
    """The bucket tables of a report: systems in lines (this model, compared rows that have buckets,
    baselines, published results), all questions and then each bucket in columns."""
    groups = _groups(report.get("buckets"))
    published = report.get("published") or []
    baselines = [{"name": name.replace("_", " ")} | dict(b) for name, b in (report.get("baselines") or {}).items()]
    others = [row for row in report.get("rows") or [] if row.get("buckets")] + baselines
    if not groups and (baselines or published):
        # Baselines and published results are worth a table also where nothing is cut into buckets.
        groups = {"": {}}
    tables: list[Table] = []
    for title, buckets in groups.items():
        counts = [whole.get("count") for whole in (report, *buckets.values())]
        lines: list[Line] = []
        if report.get("accuracy") is not None or buckets:
            lines.append(_line(str(report.get("name") or "This model"), report, buckets, counts, own=True))
        for row in others:
            named = _groups(row.get("buckets"))
            # One flat table of buckets belongs to the report's only table; several are matched by name.
            cut = named.get(title) or (named.get("") if len(groups) == 1 else None) or {}
            lines.append(_line(str(row["name"]), row, {bucket: cut.get(bucket) for bucket in buckets}, counts))
        fits = not buckets or any(row.get(bucket) is not None for row in published for bucket in buckets)
        for row in published if fits else []:
            cells = [_percent(row.get(column)) for column in ("average", *buckets)]
            lines.append({"name": str(row["name"]), "own": False, "published": True, "cells": cells})
        tables.append(
            {
                "title": f"By {title.replace('_', ' ')}" if title else "By bucket" if buckets else "Results",
                "columns": [_column("All", report), *(_column(name, b) for name, b in buckets.items())],
                "lines": lines,
                "note": _note(buckets),
                "caption": read_and_cut(report),
            }
        )
    return tables


def _groups(buckets: Figures | None) -> dict[str, Figures]:
    """Bucket tables by name; a flat {bucket: figures} is one table without a name."""
    if not buckets:
        return {}
    flat = all("accuracy" in figures for figures in buckets.values())
    return {"": dict(buckets)} if flat else dict(buckets)


def _column(name: str, figures: Figures) -> Column:
    notes = [f"n = {figures['count']:,}"] if figures.get("count") is not None else []
    if figures.get("unknown"):
        notes.append(f"{figures['unknown']:,} unknown")
    return {"name": name, "notes": notes}


def _line(name: str, whole: Figures, buckets: Figures, counts: Sequence[int | None], *, own: bool = False) -> Line:
    cells = [_cell(figures, count) for figures, count in zip((whole, *buckets.values()), counts, strict=True)]
    return {"name": name, "own": own, "published": False, "cells": cells}


def _cell(figures: Figures | None, count: int | None) -> Cell | None:
    if figures is None or figures.get("accuracy") is None:
        return None
    notes = [interval_text(figures)] if figures.get("interval") else []
    if figures.get("count") not in (None, count):
        notes.append(f"n = {figures['count']:,}")
    if figures.get("unparsed"):
        notes.append(f"{figures['unparsed']:,} unparsed")
    return {"value": f"{100 * figures['accuracy']:.1f}", "note": "; ".join(notes)}


def _percent(value: float | None) -> Cell | None:
    return None if value is None else {"value": f"{value:.1f}", "note": ""}


def read_and_cut(figures: Figures) -> str:
    """How many answers could not be read, how many prompts not be read whole, and which baselines are left out and why;
    "" where nothing is known.
    """
    if figures.get("unparsed") is None:
        return ""
    notes = [f"Unparsed: {figures['unparsed']:,} of {figures['count']:,} answers."]
    if figures.get("prompts_cut"):
        notes.append(f"Prompts cut to what the model reads: {figures['prompts_cut']:,}.")
    if left_out := figures.get("baselines_left_out"):
        notes.append(f"Baselines left out: {left_out['baselines']}, for: {left_out['reason']}.")
    return " ".join(notes)


def interval_text(figures: Figures) -> str:
    """The 95% interval of an accuracy in percent."""
    low, high = figures["interval"]
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _note(buckets: Figures) -> str:
    notes = ["Percent; below each figure its 95% interval; n is the number of questions."]
    if any(figures.get("unknown") for figures in buckets.values()):
        notes.append("Unknown: questions of which it is not known whether they belong to the bucket.")
    return " ".join(notes)
