"""What prompting shows on a terminal: one item with its whole prompt and its judgement, and the table of figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from sepiola.evaluation.prompting.measure import SHARES, Result


def shown(result: Result) -> str:
    """The prompt as the model read it, what was chosen or written, and how that was judged."""
    found = result.to_dict()
    lines = [
        f"── {result.item.id} · {len(result.shots)} shots: {', '.join(result.shots) or 'none'}",
        result.prompt,
        "──",
    ]
    lines += [f"score of {option!r}: {score:.4f}" for option, score in found["scores"].items()]
    if not result.item.options:
        lines.append(f"written: {result.outcome.output!r}")
    lines.append(f"answer: {result.outcome.answer!r}; right: {' | '.join(found['right'])}")
    lines.append(", ".join(f"{name} {value:.4g}" for name, value in result.outcome.metrics.items()))
    return "\n".join(lines)


def table(figures: Mapping[str, Any]) -> Table:
    """Every metric with its interval, the baselines, and the first metric by subject or task."""
    title = f"{figures['benchmark']} {figures['split']}, {figures['shots']} shots"
    made = Table("", "Value", "95% interval", "Items", title=title, title_justify="left")
    for column in made.columns[1:]:
        column.justify = "right"
    first = figures["metric"].replace("_", " ")
    for name, figure in figures["metrics"].items():
        made.add_row(name.replace("_", " "), *_cells(name, figure), f"{figures['count']:,}", style="bold")
    for name, figure in figures["baselines"].items():
        made.add_row(f"{first} of {name}", *_shares(figure))
    for kind, buckets in figures.get("buckets", {}).items():
        made.add_row(f"average of {kind}s", f"{100 * figures['average_of_buckets']:.1f}", "", "")
        for name, figure in buckets.items():
            made.add_row(escape(f"  {name}"), *_shares(figure))
    left_out, fewer, cut = (figures[key] for key in ("shots_left_out", "prompts_with_fewer_shots", "prompts_cut"))
    if left_out or cut:
        made.caption = (
            f"The model reads {figures['length']:,} tokens: {left_out:,} shots were left out of {fewer:,} prompts, and "
            f"{cut:,} prompts were cut at their beginning."
        )
    return made


def _shares(figure: Mapping[str, Any]) -> tuple[str, str, str]:
    return *_cells("accuracy", {**figure, "value": figure["accuracy"]}), f"{figure['count']:,}"


def _cells(metric: str, figure: Mapping[str, Any]) -> tuple[str, str]:
    scale, form = (100, ".1f") if metric in (*SHARES, "f1") else (1, ".4g")
    value, low, high = (f"{scale * number:{form}}" for number in (figure["value"], *figure["interval"]))
    return value, f"{low} to {high}"
