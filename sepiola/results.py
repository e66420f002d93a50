"""What a trained recipe is worth: every evaluation set answered, measured beside its baselines, and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from sepiola.answers import (
    answer_all,
    baseline_questions,
    benchmark_of,
    few_shot,
    pick_samples,
    trained_on,
    write_answers,
)
from sepiola.data.example import Example
from sepiola.data.readers import DataCache
from sepiola.evaluation.benchmarks import evaluate as figures_of
from sepiola.evaluation.report import write_report
from sepiola.evaluation.text import text_figures
from sepiola.facade import Model
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import write_yaml
from sepiola.specs.recipe import RecipeSpec

TEXT = "text"  # the reader of plain text, which asks nothing


def evaluate(recipe: RecipeSpec, model: Model, data: DataCache, folder: Path, console: Console) -> dict[str, Any]:
    """Measures every evaluation set, writes the report, and returns it: the first set's figures at the top."""
    sets: list[dict[str, Any]] = []
    samples: list[tuple[Example, Answer]] = []
    for spec in recipe.evaluation:
        examples = data.read(spec)
        if spec.reader == TEXT:
            figures: dict[str, Any] = text_figures(model.completer(), examples, trained_on(recipe, TEXT, data))
        else:
            what, curve = f"{spec.reader} {spec.split}", dict[str, Any]()
            if recipe.few_shot is None:
                answers = answer_all(model, examples, console, what)
            else:
                pool = data.read(recipe.few_shot.data) if recipe.few_shot.data else examples
                curve, examples, answers = few_shot(model, recipe.few_shot, examples, pool, console, what)
            write_answers(folder, spec, answers)
            figures = figures_of(benchmark_of(spec), examples, answers, baseline_questions(recipe, spec, data))
            figures |= {"few_shot": curve} if curve else {}
            samples = samples or pick_samples(examples, answers)
        sets.append({"data": spec.reader, "split": spec.split, **figures})
    report: dict[str, Any] = {
        "title": recipe.name,
        "description": recipe.description,
        "seed": recipe.seed,
        "eyes": recipe.eyes,
        **(sets[0] if sets else {}),
        "evaluations": sets,
        "recipe": write_yaml(recipe.model_dump(mode="json", exclude_defaults=True)),
    }
    asked = [s for s in sets if "accuracy" in s]
    if asked:
        report["rows"] = [
            {"name": name, **{k: figures[k] for k in ("accuracy", "interval", "count")}}
            for s in asked
            for name, figures in rows_of(s)
        ]
    write_report(folder, report, samples, folder / "metrics.jsonl")
    return report


def rows_of(figures: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What one set's figures are compared as: one row, or one for each number of demonstrations."""
    name = f"{figures['data']} {figures['split']}"
    if "few_shot" not in figures:
        return [(name, figures)]
    points = figures["few_shot"]["points"]
    rows = [(f"{name}, {p['shots']} shots", p) for p in points]
    return rows + [(f"{name}, {p['shots']} shuffled", p["shuffled"]) for p in points if "shuffled" in p]
