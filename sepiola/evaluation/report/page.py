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
import numpy as np
from markupsafe import Markup
from torch import Tensor

from sepiola.data.example import Example
from sepiola.data.files import make_folder, write_text
from sepiola.data.metrics_log import read_metrics
from sepiola.errors import DataError
from sepiola.evaluation.benchmarks import BENCHMARKS
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.accuracy import Accuracy
from sepiola.evaluation.report.buckets import bucket_tables, interval_text
from sepiola.evaluation.report.curves import stage_curves
from sepiola.evaluation.report.plots import (
    available,
    chain_curves,
    interval_bars,
    price,
    risk_coverage,
    shot_curves,
    standalone,
)
from sepiola.evaluation.report.samples import sample_card
from sepiola.evaluation.report.scaling import scaling_figures, scaling_plot, scaling_tables
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import Spec, write_yaml

Curves = Path | Sequence[Figures] | None

_ROW_COLUMNS = ("name", "accuracy", "interval", "count")
_HIDDEN_COLUMNS = ("buckets", "correct", "unparsed_rule", "unknown", "accuracies", "languages", "difference_interval")


def write_report(
    folder: Path,
    report: Figures,
    samples: Sequence[tuple[Example, Answer]] = (),
    curves: Curves = None,
) -> Path:
    """Writes `report.json` and `report.html` into `folder` (made when absent) and returns the page's path; each plot of
    the figures lies beside them as an SVG of its own too.

    `report` needs `title`; it may hold `description`, `name` (the system's, default "This model"), `language`
    (of the page's title), `accuracy`, `interval`, `count`, `unparsed`, `unparsed_rule`, `rows` (a list of
    {name, accuracy, interval, count, …} to compare, optionally each with its `buckets`), `buckets` ({bucket:
    {accuracy, interval, count, …}} or several such tables by name), `baselines` ({name: {accuracy, interval,
    count, buckets?}}), `published` (as `scienceqa.PUBLISHED`), `few_shot` (as
    `benchmarks.answering.few_shot`), `benchmark` (whose tables and headlines show the other figures), `evaluations`
    (all sets that were measured, the first of which is the report's own), `scaling` (as `experiments.scale.ladder`),
    `recipe` (YAML text, a mapping or a Spec). Accuracies are shares (0 to 1). Any other key lands in the JSON alone.
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


def plots(report: Figures) -> dict[str, Markup]:
    """The plots of a report's figures by name: `accuracy` of compared rows and what it costs, `shots`, `chains`,
    `coverage`, `scaling`.
    """
    rows = report.get("rows") or []
    bars = [(r["name"], r["accuracy"], r.get("interval")) for r in rows if r.get("accuracy") is not None]
    found = {
        "accuracy": interval_bars(bars),
        **_prices(rows),
        "shots": _shots_plot(report),
        "chains": _chains_plot(report),
        "coverage": _coverage_plot(report),
        "scaling": scaling_plot(report["scaling"]) if report.get("scaling") else Markup(""),
    }
    return {name: plot for name, plot in found.items() if plot}


def tables(report: Figures) -> list[Table]:
    """All tables of a report that have systems in lines."""
    made = [*scaling_tables(report.get("scaling")), *_measured(report)]
    for figures in (report.get("evaluations") or [])[1:]:  # the first set's figures are the report's own
        name = f"{figures['data']} {figures['split']}"
        for table in _measured(figures):
            made.append(table if name in table["title"] else {**table, "title": f"{table['title']}, {name}"})
    return made


def _measured(figures: Figures) -> list[Table]:
    """The tables of the benchmark that made the figures; of accuracies by other means, those of their buckets."""
    return BENCHMARKS[figures["benchmark"]].tables(figures) if "benchmark" in figures else bucket_tables(figures)


def _render(report: Figures, samples: list[Figures], curves: Curves) -> str:
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


def _prices(rows: Sequence[Figures]) -> dict[str, Markup]:
    """Accuracy over each cost that rows of a comparison have."""
    named = {"first_token_ms": "ms to the first token", "bridge_parameters": "parameters of the bridge"}
    found = {}
    for column, name in named.items():
        points = [(str(r["name"]), float(r[column]), r["accuracy"]) for r in rows if r.get(column) is not None]
        found[column] = price(points, name)
    return found


def _shots_plot(report: Figures) -> Markup:
    if not report.get("few_shot"):
        return Markup("")
    points = report["few_shot"]["points"]
    true = [(p["shots"], p["accuracy"], p["interval"]) for p in points]
    false = [(p["shots"], p["shuffled"]["accuracy"], p["shuffled"]["interval"]) for p in points if "shuffled" in p]
    series = [("true answers", true), *([("answers exchanged", false)] if false else [])]
    return shot_curves(series, report["baselines"]["chance"]["accuracy"])


def _chains_plot(report: Figures) -> Markup:
    votes = (report.get("chains") or {}).get("votes") or {}
    return chain_curves(
        [(name, [(p["chains"], p["accuracy"], p["interval"]) for p in points]) for name, points in votes.items()]
    )


def _coverage_plot(report: Figures) -> Markup:
    points = (report.get("confidence") or {}).get("risk_coverage") or []
    return risk_coverage([(p["coverage"], p["accuracy"]) for p in points])


def _figures(report: Figures) -> list[Headline]:
    figures: list[Headline] = []
    if report.get("accuracy") is not None:
        note = f"95% interval {interval_text(report)}" if report.get("interval") else ""
        figures.append({"name": "Accuracy", "value": f"{100 * report['accuracy']:.1f}%", "note": note})
    figures += scaling_figures(report.get("scaling"))
    if report.get("count") is not None:
        figures.append({"name": "Questions", "value": f"{report['count']:,}", "note": ""})
    if report.get("unparsed") is not None:
        rule = {"random": "drawn among five options"}.get(str(report.get("unparsed_rule")), "counted as wrong")
        figures.append({"name": "Unparsed outputs", "value": f"{report['unparsed']:,}", "note": rule})
    if "benchmark" in report:
        figures += BENCHMARKS[report["benchmark"]].headlines(report)
    return figures


def _plain(value: object, path: str) -> Any:
    """Plain JSON data; results and specs are taken apart, a float that is no number becomes None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Spec | Accuracy):
        return _plain(value.to_dict(), path)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value), path)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic | Tensor):
        return _plain(value.item(), path)
    raise DataError(f"{path}: cannot be written as JSON: got {type(value).__name__}, expected plain data")
