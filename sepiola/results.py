"""What a trained recipe is worth: every evaluation set answered, measured beside its baselines, and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from sepiola.answers import answer_all, baseline_questions, benchmark_of, pick_samples, trained_on, write_answers
from sepiola.data.example import Example
from sepiola.data.readers import DataCache
from sepiola.evaluation.benchmarks import evaluate as figures_of
from sepiola.evaluation.report import write_report
from sepiola.evaluation.retrieval import retrieval
from sepiola.evaluation.text import text_figures
from sepiola.facade import Model
from sepiola.models.dual import DualEncoder
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
        elif isinstance(model.network, DualEncoder):
            figures = {"retrieval": retrieval(model.matcher(), examples)}
        else:
            answers = answer_all(model, examples, console, f"{spec.reader} {spec.split}")
            write_answers(folder, spec, answers)
            figures = figures_of(benchmark_of(spec), examples, answers, baseline_questions(recipe, spec, data))
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
            {"name": f"{s['data']} {s['split']}", **{k: s[k] for k in ("accuracy", "interval", "count")}} for s in asked
        ]
    write_report(folder, report, samples, folder / "metrics.jsonl")
    return report
