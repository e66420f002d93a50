"""A run's report: `report.json` with every figure, and `report.html`, one page that needs nothing beside
itself (no script, no request: images are data URIs, plots inline SVG) with headline figures, tables beside
baselines and published results, loss curves and a sheet of samples. Without Matplotlib it is written without plots.

All text from data and models is escaped, and the page's content policy forbids scripts and requests besides.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sepiola.checkpoints.store import make_folder, write_text
from sepiola.data.example import Example
from sepiola.data.metrics_log import read_metrics
from sepiola.errors import DataError
from sepiola.evaluation.metrics.caption_figures import caption_headlines, caption_tables
from sepiola.evaluation.metrics.pope import pope_tables
from sepiola.evaluation.metrics.retrieval import retrieval_tables
from sepiola.evaluation.metrics.vqa import vqa_tables
from sepiola.evaluation.report.curves import stage_curves
from sepiola.evaluation.report.plots import available, interval_bars, price, shot_curves, standalone
from sepiola.evaluation.report.samples import sample_card
from sepiola.evaluation.report.scaling import scaling_figures, scaling_plot, scaling_tables
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import Spec, write_yaml

Curves = Path | Sequence[Mapping[str, Any]] | None
Table = dict[str, Any]

_ROW_COLUMNS = ("name", "accuracy", "interval", "count")
_HIDDEN_COLUMNS = ("buckets", "correct", "unparsed_rule", "unknown", "accuracies", "languages")


def write_report(
    folder: Path,
    report: Mapping[str, Any],
    samples: Sequence[tuple[Example, Answer]] = (),
    curves: Curves = None,
) -> Path:
    """Writes `report.json` and `report.html` into `folder` (made when absent) and returns the page's path; each plot of
    the figures lies beside them as an SVG of its own too.

    `report` needs `title`; it may hold `description`, `name` (the system's, default "This model"), `language`
    (of the page's title), `accuracy`, `interval`, `count`, `unparsed`, `unparsed_rule`, `rows` (a list of
    {name, accuracy, interval, count, …} to compare, optionally each with its `buckets`), `buckets` ({bucket:
    {accuracy, interval, count, …}} or several such tables by name), `baselines` ({name: {accuracy, interval,
    count, buckets?}}), `published` (as `scienceqa.PUBLISHED`), `rationales`, `hallucination`, `bits_per_byte` and
    `continuations` (as `text.text_figures`), `captions` (as `caption_figures`), `pope` (as `pope_figures`),
    `vqa` (as `vqa_figures`), `retrieval` (as `retrieval.retrieval`), `few_shot` (as `experiments.answer.few_shot`),
    `evaluations` (all sets that were measured), `scaling` (as `experiments.scale.ladder`), `recipe` (YAML text, a
    mapping or a Spec). Accuracies are shares (0 to 1). Any other key lands in the JSON alone.
    `curves` is a metrics.jsonl or its records. Raises DataError when the title is missing, a value is no
    plain data, or a sample's answer belongs to another example.
    """
    data = _plain(report, "report")
    if not isinstance(data.get("title"), str):
        raise DataError("report: 'title' is missing; give the report's title as text")
    page = _render(data, [sample_card(example, answer) for example, answer in samples], curves)
    make_folder(folder)
    write_text(folder / "report.json", json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
    for name, plot in plots(data).items():
        write_text(folder / f"{name}.svg", standalone(plot))
    write_text(folder / "report.html", page)
    return folder / "report.html"


def plots(report: Mapping[str, Any]) -> dict[str, Markup]:
    """The plots of a report's figures by name: `accuracy` of compared rows and what it costs, `shots`, `scaling`."""
    rows = report.get("rows") or []
    bars = [(r["name"], r["accuracy"], r.get("interval")) for r in rows if r.get("accuracy") is not None]
    found = {
        "accuracy": interval_bars(bars),
        **_prices(rows),
        "shots": _shots_plot(report),
        "scaling": scaling_plot(report["scaling"]) if report.get("scaling") else Markup(""),
    }
    return {name: plot for name, plot in found.items() if plot}


def tables(report: Mapping[str, Any]) -> list[Table]:
    """All tables of a report that have systems in lines, as `bucket_tables` lays them out."""
    seeing = [*caption_tables(report), *vqa_tables(report), *pope_tables(report)]
    own = [*_text_tables(report), *scaling_tables(report.get("scaling")), *retrieval_tables(report.get("retrieval"))]
    return [*own, *seeing, *bucket_tables(report)]


def _text_tables(report: Mapping[str, Any]) -> list[Table]:
    """Bits per byte of held-out text: this model and its baselines in lines, languages in columns."""
    languages: Mapping[str, Any] = report.get("bits_per_byte") or {}
    if not languages:
        return []
    names = ["model", *dict.fromkeys(name for figures in languages.values() for name in figures["baselines"])]
    lines = []
    for name in names:
        bits = [{"model": f["model"], **f["baselines"]}.get(name) for f in languages.values()]
        cells = [None if b is None else {"value": f"{b:.3f}", "note": ""} for b in bits]
        own = name == "model"
        lines.append({"name": "This model" if own else name, "own": own, "published": False, "cells": cells})
    columns = [
        {"name": language, "notes": [f"{f['documents']:,} documents", f"{f['bytes']:,} bytes"]}
        for language, f in languages.items()
    ]
    note = "Bits for each byte of UTF-8; lower is better. The n-grams count the model's own tokens of the same text."
    return [{"title": "Held-out bits per byte", "columns": columns, "lines": lines, "note": note}]


def bucket_tables(report: Mapping[str, Any]) -> list[Table]:
    """The bucket tables of a report: systems in lines (this model, compared rows that have buckets,
    baselines, published results), all questions and then each bucket in columns.

    Each table is {"title", "columns": [{"name", "notes"}], "lines": [{"name", "own", "published", "cells":
    [{"value", "note"} or None]}], "note"}.
    """
    groups = _groups(report.get("buckets"))
    published = report.get("published") or []
    baselines = [{"name": name.replace("_", " ")} | dict(b) for name, b in (report.get("baselines") or {}).items()]
    others = [row for row in report.get("rows") or [] if row.get("buckets")] + baselines
    if not groups and (baselines or published):
        # Baselines and published results are worth a table also where nothing is cut into buckets.
        groups = {"": {}}
    tables = []
    for title, buckets in groups.items():
        counts = [whole.get("count") for whole in (report, *buckets.values())]
        lines = []
        if report.get("accuracy") is not None or buckets:
            lines.append(_line(str(report.get("name") or "This model"), report, buckets, counts) | {"own": True})
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
            }
        )
    return tables


def _render(report: dict[str, Any], samples: list[dict[str, Any]], curves: Curves) -> str:
    records = read_metrics(curves) if isinstance(curves, Path) else list(curves or [])
    rows = report.get("rows") or []
    recipe = report.get("recipe")
    template = resources.files("sepiola.evaluation.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.ChainableUndefined)
    return environment.from_string(template).render(
        report=report,
        figures=_figures(report),
        row_columns=list(dict.fromkeys(k for r in rows for k in r if k not in _ROW_COLUMNS + _HIDDEN_COLUMNS)),
        plots=plots(report),
        drawable=available(),
        tables=tables(report),
        stages=stage_curves(records),
        samples=samples,
        recipe=recipe if isinstance(recipe, str) or not recipe else write_yaml(recipe),
    )


def _prices(rows: Sequence[Mapping[str, Any]]) -> dict[str, Markup]:
    """Accuracy over each cost that rows of a comparison have."""
    named = {"first_token_ms": "ms to the first token", "bridge_parameters": "parameters of the bridge"}
    found = {}
    for column, name in named.items():
        points = [(str(r["name"]), float(r[column]), r["accuracy"]) for r in rows if r.get(column) is not None]
        found[column] = price(points, name)
    return found


def _shots_plot(report: Mapping[str, Any]) -> Markup:
    if not report.get("few_shot"):
        return Markup("")
    points = report["few_shot"]["points"]
    true = [(p["shots"], p["accuracy"], p["interval"]) for p in points]
    false = [(p["shots"], p["shuffled"]["accuracy"], p["shuffled"]["interval"]) for p in points if "shuffled" in p]
    series = [("true answers", true), *([("answers exchanged", false)] if false else [])]
    return shot_curves(series, report["baselines"]["chance"]["accuracy"])


def _figures(report: Mapping[str, Any]) -> list[dict[str, str]]:
    figures = []
    if report.get("accuracy") is not None:
        note = f"95% interval {_interval(report)}" if report.get("interval") else ""
        figures.append({"name": "Accuracy", "value": f"{100 * report['accuracy']:.1f}%", "note": note})
    figures += scaling_figures(report.get("scaling")) + caption_headlines(report)
    for language, bits in (report.get("bits_per_byte") or {}).items():
        best = min(bits["baselines"].values(), default=None)
        note = "" if best is None else f"best baseline {best:.3f}"
        figures.append({"name": f"Bits per byte, {language}", "value": f"{bits['model']:.3f}", "note": note})
    if report.get("count") is not None:
        figures.append({"name": "Questions", "value": f"{report['count']:,}", "note": ""})
    if report.get("unparsed") is not None:
        rule = {"random": "drawn among five options"}.get(str(report.get("unparsed_rule")), "counted as wrong")
        figures.append({"name": "Unparsed outputs", "value": f"{report['unparsed']:,}", "note": rule})
    rationales = report.get("rationales") or {}
    if rationales.get("rougeL") is not None:
        note = f"of {rationales['count']:,} rationales"
        figures.append({"name": "ROUGE-L", "value": f"{rationales['rougeL']:.1f}", "note": note})
    claims = report.get("hallucination") or {}
    if claims.get("rate") is not None:
        note = f"of {claims['claims']:,} claims in rationales"
        figures.append({"name": "False claims", "value": f"{100 * claims['rate']:.1f}%", "note": note})
    return figures


def _groups(buckets: Any) -> dict[str, dict[str, Any]]:
    """Bucket tables by name; a flat {bucket: figures} is one table without a name."""
    if not buckets:
        return {}
    flat = all("accuracy" in figures for figures in buckets.values())
    return {"": dict(buckets)} if flat else dict(buckets)


def _column(name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    notes = [f"n = {figures['count']:,}"] if figures.get("count") is not None else []
    if figures.get("unknown"):
        notes.append(f"{figures['unknown']:,} unknown")
    return {"name": name, "notes": notes}


def _line(
    name: str, whole: Mapping[str, Any], buckets: Mapping[str, Any], counts: Sequence[int | None]
) -> dict[str, Any]:
    cells = [_cell(figures, count) for figures, count in zip((whole, *buckets.values()), counts, strict=True)]
    return {"name": name, "own": False, "published": False, "cells": cells}


def _cell(figures: Mapping[str, Any] | None, count: int | None) -> dict[str, str] | None:
    if figures is None or figures.get("accuracy") is None:
        return None
    notes = [_interval(figures)] if figures.get("interval") else []
    if figures.get("count") not in (None, count):
        notes.append(f"n = {figures['count']:,}")
    return {"value": f"{100 * figures['accuracy']:.1f}", "note": "; ".join(notes)}


def _percent(value: float | None) -> dict[str, str] | None:
    return None if value is None else {"value": f"{value:.1f}", "note": ""}


def _interval(figures: Mapping[str, Any]) -> str:
    low, high = figures["interval"]
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _note(buckets: Mapping[str, Any]) -> str:
    notes = ["Percent; below each figure its 95% interval; n is the number of questions."]
    if any(figures.get("unknown") for figures in buckets.values()):
        notes.append("Unknown: questions of which it is not known whether they belong to the bucket.")
    return " ".join(notes)


def _plain(value: Any, path: str) -> Any:
    """Plain JSON data; results and specs are taken apart, a float that is no number becomes None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Spec) or hasattr(value, "to_dict"):
        return _plain(value.to_dict(), path)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value), path)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return _plain(value.item(), path)
    raise DataError(f"{path}: cannot be written as JSON: got {type(value).__name__}, expected plain data")
