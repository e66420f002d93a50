"""What prompting shows one item with its whole prompt and its judgement, and the table of figures."""

from __future__ import annotations

from sepiola.evaluation.figures import Cell, Figures, Line, Table
from sepiola.evaluation.prompting.measure import SHARES, PromptResult


def shown(result: PromptResult) -> str:
    """The prompt as the model read it, what was chosen or written, and how that was judged."""
    judged = result.to_dict()
    lines = [
        f"── {result.item.id} · {len(result.shots)} shots: {', '.join(result.shots) or 'none'}",
        result.prompt,
        "──",
    ]
    lines += [f"score of {option!r}: {score:.4f}" for option, score in judged["scores"].items()]
    if not result.item.options:
        lines.append(f"written: {result.outcome.output!r}")
    lines.append(f"answer: {result.outcome.answer!r}; right: {' | '.join(judged['right'])}")
    lines.append(", ".join(f"{name} {value:.4g}" for name, value in result.outcome.metrics.items()))
    return "\n".join(lines)


def prompt_table(figures: Figures) -> Table:
    """Every metric with its interval, the baselines, and the first metric by subject or task, in lines."""
    first = figures["metric"].replace("_", " ")
    lines = [
        _line(name.replace("_", " "), name, figure, figures["count"], own=True)
        for name, figure in figures["metrics"].items()
    ]
    lines += [_share(f"{first} of {name}", figure) for name, figure in figures["baselines"].items()]
    for kind, buckets in figures.get("buckets", {}).items():
        average: list[Cell | None] = [_cell(f"{100 * figures['average_of_buckets']:.1f}"), _cell(""), _cell("")]
        lines.append({"name": f"average of {kind}s", "own": False, "published": False, "cells": average})
        lines += [_share(f"  {name}", figure) for name, figure in buckets.items()]
    table: Table = {
        "title": f"{figures['benchmark']} {figures['split']}, {figures['shots']} shots",
        "columns": [{"name": name, "notes": []} for name in ("Value", "95% interval", "Items")],
        "lines": lines,
        "note": "Shares in percent, with Wilson's 95% interval; other metrics with a bootstrap over items.",
    }
    notes = [f"Unparsed: {figures['unparsed']:,} of {figures['count']:,} answers."]
    left_out, fewer, cut = (figures[key] for key in ("shots_left_out", "prompts_with_fewer_shots", "prompts_cut"))
    if left_out or cut:
        notes.append(
            f"The model reads {figures['length']:,} tokens: {left_out:,} shots were left out of {fewer:,} prompts, and "
            f"{cut:,} questions were cut at their beginning."
        )
    if figures["chat_template"]:
        notes.append("Asked in the chat template of the model.")
    table["caption"] = " ".join(notes)
    return table


def _share(name: str, figure: Figures) -> Line:
    return _line(name, "accuracy", {**figure, "value": figure["accuracy"]}, figure["count"])


def _line(name: str, metric: str, figure: Figures, count: int, *, own: bool = False) -> Line:
    scale, form = (100, ".1f") if metric in (*SHARES, "f1") else (1, ".4g")
    value, low, high = (f"{scale * number:{form}}" for number in (figure["value"], *figure["interval"]))
    cells: list[Cell | None] = [_cell(value), _cell(f"{low} to {high}"), _cell(f"{count:,}")]
    return {"name": name, "own": own, "published": False, "cells": cells}


def _cell(value: str) -> Cell:
    return {"value": value, "note": ""}
