"""How right calls are: names, arguments and whole calls, what calls nothing, by language and picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sepiola.acting.checking import fault_of, same_calls, same_value
from sepiola.calling.functions import Call, Function
from sepiola.calling.spans import strings
from sepiola.data.example import Example
from sepiola.evaluation.figures import Cell, Column, Figures, Line, Table
from sepiola.evaluation.metrics.accuracy import wilson_interval

COLUMNS = {"name": "Name", "arguments": "Arguments", "copied": "Copied", "exact": "Exact",
           "irrelevant precision": "Irrelevant: precision", "irrelevant recall": "recall",
           "near miss": "Near misses"}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """One request with the calls that were written, None where none could be read, and whether they are right.

    `arguments` are how many of the right arguments stand in a call of their function's, and how many there are; None
    where they are not known. `copied` are those of their open strings that the request says word for word: how many
    stand there, and how many there are.
    """

    example: Example
    calls: Sequence[Call] | None
    name: bool
    exact: bool | None
    arguments: tuple[int, int] | None
    copied: tuple[int, int] = (0, 0)

    @property
    def irrelevant(self) -> bool:
        """Whether nothing was to be called."""
        return not self.example.metadata["calls"]

    @property
    def right(self) -> bool:
        """Whether the calls are exact, or nothing was to be called and nothing is; what could not be read never is."""
        return bool(self.exact) if not self.irrelevant else self.calls is not None and not self.calls


def judged(example: Example, calls: Sequence[Call] | None, functions: Sequence[Function] = ()) -> Judged:
    """One request judged: by BFCL's rules where the example lists all `allowed` values, else by equality.

    An argument that is left out has its default, where `functions` say it.
    """
    right = example.metadata["calls"]
    said = calls or ()
    name = calls is not None and Counter(c["name"] for c in right) == Counter(c.name for c in said)
    if any(call["arguments"] is None for call in right):
        return Judged(example, calls, name, None, None)
    allowed, tools = example.metadata.get("allowed"), example.metadata.get("tools", ())
    defaults = {f.name: {p.name: p.default for p in f.parameters if not p.required} for f in functions}
    wanted = [(c["name"], {**defaults.get(c["name"], {}), **c["arguments"]}) for c in right]
    given = [(c.name, {**defaults.get(c.name, {}), **c.arguments}) for c in said]
    count = found = 0
    left, pairs = list(given), list[tuple[str, Mapping[str, object], Mapping[str, object]]]()
    for called, arguments in wanted:
        count += len(arguments)
        same = [(_alike(arguments, other), place) for place, (made, other) in enumerate(left) if made == called]
        if same:
            most, place = max(same, key=lambda pair: (pair[0], -pair[1]))
            found += most
            pairs.append((called, arguments, left.pop(place)[1]))
        else:
            pairs.append((called, arguments, {}))
    if allowed is not None:
        exact = not fault_of(calls, allowed, tools)
    else:
        exact = calls is not None and same_calls(wanted, given)
    schemas = {(f.name, name): part for f in functions for name, part in f.schema["properties"].items()}
    copied = [
        text in strings(there.get(name), schema)
        for called, right, there in pairs
        for name, value in right.items()
        for schema in [schemas.get((called, name), {})]
        for text in strings(value, schema)
        if text and text in example.prompt
    ]
    return Judged(example, calls, name, exact, (found, count), (sum(copied), len(copied)))


def call_figures(rows: Sequence[Judged]) -> Figures:
    """The figures of all requests, of the worst function, and `by` language, picture and number of calls."""
    groups: defaultdict[str, list[Judged]] = defaultdict(list)
    functions: defaultdict[str, list[Judged]] = defaultdict(list)
    for row in rows:
        about = row.example.metadata
        language, picture = str(about.get("language", "other")), "picture" if row.example.images else "text"
        groups[language].append(row)
        groups[f"{language}, {picture}"].append(row)
        if about["calls"]:
            groups[f"{language}, {picture}, {'one call' if len(about['calls']) == 1 else 'several calls'}"].append(row)
        if about.get("picture") == "needed":
            groups[f"{language}, picture needed"].append(row)
        for name in {call["name"] for call in about["calls"]}:
            functions[name].append(row)
    by_function = {name: share([row.exact for row in some]) for name, some in sorted(functions.items())}
    known = {name: figure for name, figure in by_function.items() if figure["value"] is not None}
    worst = min(known, key=lambda name: known[name]["value"], default=None)
    return {
        **_figures(rows),
        "by": {name: _figures(some) for name, some in sorted(groups.items())},
        "worst": None if worst is None else {"function": worst, **known[worst]},
    }


def _figures(rows: Sequence[Judged]) -> Figures:
    relevant = [row for row in rows if not row.irrelevant]
    nothing = [row.calls is not None and not row.calls for row in rows]
    known = [row.arguments for row in relevant if row.arguments is not None]
    return {
        "count": len(rows),
        "unparsed": sum(row.calls is None for row in rows),
        "name": share([row.name for row in relevant]),
        "arguments": _of(sum(found for found, _ in known), sum(count for _, count in known)),
        "copied": _of(sum(row.copied[0] for row in relevant), sum(row.copied[1] for row in relevant)),
        "exact": share([row.exact for row in relevant]),
        "irrelevant": {
            "precision": share([row.irrelevant for row, none in zip(rows, nothing, strict=True) if none]),
            "recall": share([none for row, none in zip(rows, nothing, strict=True) if row.irrelevant]),
        },
        "near_miss": share([n for r, n in zip(rows, nothing, strict=True) if r.example.metadata.get("near_miss")]),
    }


def call_tables(figures: Figures) -> list[Table]:
    """Requests by language and picture in lines."""
    acting = figures["acting"]
    lines: list[Line] = [
        {"name": name, "own": name == "All", "published": False, "cells": _cells(some)}
        for name, some in {"All": acting, **acting["by"]}.items()
    ]
    columns: list[Column] = [{"name": name, "notes": []} for name in COLUMNS.values()]
    worst, cost = acting["worst"], acting.get("cost") or {}
    notes = [
        "Percent; below each figure its 95% interval. Copied: of the open strings that stand in the request.",
        f"{acting['unparsed']:,} replies could not be read: wrong.",
    ]
    if acting.get("untaught"):
        notes.append(f"{acting['untaught']:,} requests call functions that the model was not taught: wrong.")
    if worst is not None:
        notes.append(f"The worst function is {worst['function']}: {100 * worst['value']:.1f} exact.")
    if (offered := acting.get("offered")) is not None and offered["count"]:
        notes.append(f"The retriever offers the right functions for {100 * offered['value']:.1f}%.")
    if (nearest := acting.get("nearest")) is not None:
        notes.append(
            f"The function that is nearest by TF-IDF is right for {100 * nearest['value']:.1f}% of the "
            f"{nearest['count']:,} requests with a choice."
        )
    sight = acting.get("sight") or {}
    said = {
        "exchanged": "are right with another picture in its place",
        "blind": "are right without the picture that they need",
        "majority": "would be right by the thing that is seen most often",
        "unchanged": "are the same without a picture that has nothing to do with them",
    }
    notes += [
        f"{100 * sight[key]['value']:.1f}% {text} ({sight[key]['count']:,})."
        for key, text in said.items()
        if key in sight
    ]
    if cost:
        notes.append(f"{cost['tokens_in']:.0f} tokens of text in, {cost['tokens_out']:.0f} out.")
        notes.append(f"{cost['median_ms']:.0f} ms at the median, {cost['p95_ms']:.0f} at the 95th percentile.")
    return [{"title": "Calls", "columns": columns, "lines": lines, "note": " ".join(notes)}]


def _cells(figures: Figures) -> list[Cell | None]:
    nothing = figures["irrelevant"]
    shown = [*(figures[key] for key in ("name", "arguments", "copied", "exact")), nothing["precision"],
             nothing["recall"], figures["near_miss"]]  # fmt: skip
    return [_cell(figure) for figure in shown]


def _cell(figure: Figures) -> Cell | None:
    if figure["value"] is None:
        return None
    low, high = figure["interval"]
    return {"value": f"{100 * figure['value']:.1f}", "note": f"{100 * low:.1f} to {100 * high:.1f}"}


def share(values: Sequence[bool | None]) -> Figures:
    """How many of the values that are known are true, with the interval."""
    known = [value for value in values if value is not None]
    return _of(sum(known), len(known))


def _of(right: int, count: int) -> Figures:
    interval = list(wilson_interval(right, count)) if count else None
    return {"value": right / count if count else None, "interval": interval, "count": count}


def _alike(wanted: Mapping[str, object], given: Mapping[str, object]) -> int:
    """How many arguments are the same."""
    return sum(name in given and same_value(value, given[name]) for name, value in wanted.items())
