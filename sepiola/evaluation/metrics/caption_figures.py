"""All figures of a set of captions, by language: metrics and fluency of a model's captions beside its baselines'.

A set is pictures, each with its references; a picture stands in it once in each language.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sepiola.data.example import Example
from sepiola.evaluation.figures import Cell, Column, Figures, Headline, Line, Table
from sepiola.evaluation.metrics.accuracy import join_by_id
from sepiola.evaluation.metrics.captions import caption_metrics
from sepiola.evaluation.metrics.fluency import fluency
from sepiola.reasoning.answer import Answer

COLUMNS = {"cider": "CIDEr-D", "bleu1": "BLEU-1", "bleu4": "BLEU-4", "rougeL": "ROUGE-L"}
"""What a table has room for of the metrics; the JSON has all."""

FAULTS = {"repetition": "Repeats", "fragments": "Fragments"}


def asks_for_captions(examples: Sequence[Example]) -> bool:
    """Whether the examples are pictures whose captions are asked for: images, and no question."""
    return bool(examples) and all(e.question is None and e.images for e in examples)


def one_each(examples: Sequence[Example]) -> list[Example]:
    """One example a picture and language, of those that know all its `references`; the others stay as they are."""
    found: dict[tuple[str, ...], Example] = {}
    for example in examples:
        known = "references" in example.metadata
        key = (str(example.metadata["group"]), str(example.metadata["language"])) if known else (example.id,)
        found.setdefault(key, example)
    return list(found.values())


def references(example: Example) -> list[str]:
    """All captions that people gave the picture in the example's language; the target alone where no more are known."""
    return list(example.metadata.get("references") or [example.target])


def caption_figures(
    examples: Sequence[Example], answers: Sequence[Answer], baselines: Mapping[str, Sequence[Answer]]
) -> Figures:
    """`{"captions": {language: {"count", metrics…, "fluency", "baselines": {name: {metrics…, "fluency"}}}}}`.

    `references` among the baselines is each picture's first, measured against its others (where there are any), with
    the fluency of all. Raises DataError when ids do not match.
    """
    pairs: defaultdict[str, list[tuple[Example, Answer]]] = defaultdict(list)
    for example, answer in join_by_id(examples, answers):
        pairs[str(example.metadata.get("language", "en"))].append((example, answer))
    by_name = {name: {a.id: a for a in given} for name, given in baselines.items()}
    figures = {}
    for language in sorted(pairs):
        asked = [example for example, _ in pairs[language]]
        others = {name: _measured(asked, [known[e.id] for e in asked]) for name, known in by_name.items()}
        others["references"] = _references([references(e) for e in asked])
        own = _measured(asked, [answer for _, answer in pairs[language]])
        figures[language] = {"count": len(asked), **own, "baselines": others}
    return {"captions": figures}


def _measured(examples: Sequence[Example], answers: Sequence[Answer]) -> Figures:
    texts = [answer.output for answer in answers]
    metrics = caption_metrics(texts, [references(e) for e in examples])
    return {**metrics, "fluency": fluency(texts, [answer.cut for answer in answers])}


def _references(known: Sequence[Sequence[str]]) -> Figures:
    fluent = {"fluency": fluency([text for texts in known for text in texts])}
    if not all(texts[1:] for texts in known):
        return fluent
    return {**caption_metrics([texts[0] for texts in known], [texts[1:] for texts in known]), **fluent}


def caption_tables(measured: Figures) -> list[Table]:
    """A table for each language of a set, the model and its baselines in lines."""
    return [_table(measured, language, figures) for language, figures in (measured.get("captions") or {}).items()]


def _table(measured: Figures, language: str, figures: Figures) -> Table:
    name = " ".join(str(measured[key]) for key in ("data", "split") if measured.get(key))
    lines = [_line(str(measured.get("name") or "This model"), figures, own=True)]
    lines += [_line(other.replace("_", " "), baseline) for other, baseline in figures["baselines"].items()]
    columns: list[Column] = [{"name": column, "notes": []} for column in (*COLUMNS.values(), *FAULTS.values())]
    columns[0]["notes"] = [f"n = {figures['count']:,}"]
    seeds = len(measured.get("seeds") or ())
    arms = f", of a trained model's mean over {seeds} seeds Student's over these" if seeds > 1 else ""
    note = (
        f"Below each figure its 95% interval over pictures{arms}; n is the number of pictures. References: one "
        "against the others. Repeats and fragments are percent of captions. Chinese is cut into characters."
    )
    return {
        "title": f"Captions, {f'{name}, ' if name else ''}{language}",
        "columns": columns,
        "lines": lines,
        "note": note,
    }


def _line(name: str, figures: Figures, *, own: bool = False) -> Line:
    cells: list[Cell | None] = []
    for key in COLUMNS:
        cells.append(_cell(figures[key]["value"], figures[key]["interval"], 1) if key in figures else None)
    for key in FAULTS:
        fault = figures["fluency"][key]
        cells.append(None if fault["rate"] is None else _cell(fault["rate"], fault["interval"], 100))
    return {"name": name, "own": own, "published": False, "cells": cells}


def _cell(value: float, interval: Sequence[float], scale: float) -> Cell:
    return {"value": f"{scale * value:.1f}", "note": f"{scale * interval[0]:.1f} to {scale * interval[1]:.1f}"}


def caption_headlines(measured: Figures) -> list[Headline]:
    """CIDEr-D of each language beside the best baseline's, as the report's head shows figures."""
    headlines: list[Headline] = []
    for language, figures in (measured.get("captions") or {}).items():
        known = {n: baseline["cider"]["value"] for n, baseline in figures["baselines"].items() if n != "references"}
        best = max(known, key=known.__getitem__, default=None)
        note = f"{best.replace('_', ' ')} {known[best]:.1f}" if best else ""
        headlines.append({"name": f"CIDEr-D, {language}", "value": f"{figures['cider']['value']:.1f}", "note": note})
    return headlines
