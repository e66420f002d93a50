"""What a trained recipe is worth: every evaluation set measured by its benchmark, and reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from sepiola.api import Model
from sepiola.checkpoints.store import write_text
from sepiola.data.example import Example
from sepiola.data.sampler import spread
from sepiola.datasets import DataCache
from sepiola.evaluation.benchmarks import measure
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.report.page import write_report
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import write_yaml
from sepiola.specs.recipe import RecipeSpec

REPORT_SAMPLES = 24
BASELINE_QUESTIONS = 12_000  # as many as ScienceQA has; the neighbours of more would take minutes


def evaluate(
    recipe: RecipeSpec,
    model: Model,
    data: DataCache,
    folder: Path,
    console: Console,
    about: Callable[[Model], Figures] = lambda _: {},
) -> Figures:
    """Measures every evaluation set, writes the report, and returns it: the first set's figures at the top, and what
    `about` says of the model.
    """

    def training(reader: str | None) -> list[Example]:
        """All examples of a dataset that the recipe's stages train on."""
        stages = [stage for stage in recipe.stages if reader in (stage.data.reader, None)]
        return list({e.id: e for stage in stages for e in data.read(stage.data)}.values())

    sets: list[Figures] = []
    samples: list[tuple[Example, Answer]] = []
    for spec, path in zip(recipe.evaluation, answers_files(folder, recipe), strict=True):
        settings = Settings(
            spec,
            console,
            data.read,
            training,
            baseline_questions=BASELINE_QUESTIONS,
            few_shot=recipe.few_shot,
            compares=recipe.stages[-1].objective.compares,
        )
        measurement = measure(model, settings)
        if measurement.answered:
            _write_answers(path, [answer for _, answer in measurement.answered])
            samples = samples or pick_samples(measurement.answered)
        sets.append({"data": spec.reader, "split": spec.split, **measurement.figures})
    report: Figures = {
        "title": recipe.name,
        "description": recipe.description,
        "seed": recipe.seed,
        "images": recipe.images,
        **(sets[0] if sets else {}),
        **about(model),
        "evaluations": sets,
        "recipe": write_yaml(recipe.model_dump(mode="json", exclude_defaults=True)),
    }
    if rows := [row for figures in sets for row in _rows(figures)]:
        report["rows"] = rows
    write_report(folder, report, samples, folder / "metrics.jsonl")
    return report


def answers_files(folder: Path, recipe: RecipeSpec) -> list[Path]:
    """Where a run keeps its answers to each evaluation set: every answer as it came, one JSON line each.

    Sets of one dataset and split are numbered from the second on.
    """
    names = [f"answers-{spec.reader}-{spec.split}" for spec in recipe.evaluation]
    numbers = [names[:place].count(name) + 1 for place, name in enumerate(names)]
    return [folder / f"{name}{f'-{n}' if n > 1 else ''}.jsonl" for name, n in zip(names, numbers, strict=True)]


def pick_samples(answered: Sequence[tuple[Example, Answer]]) -> list[tuple[Example, Answer]]:
    """Some answers to show, spread evenly: as many wrong ones as right ones where there are enough."""
    right, wrong = ([pair for pair in answered if _right(*pair) is verdict] for verdict in (True, False))
    shown_wrong = min(len(wrong), REPORT_SAMPLES // 2)
    return spread(right, REPORT_SAMPLES - shown_wrong) + spread(wrong, shown_wrong)


def _right(example: Example, answer: Answer) -> bool:
    return example.question is not None and answer.choice is not None and answer.choice == example.question.answer


def _write_answers(path: Path, answers: Sequence[Answer]) -> None:
    write_text(path, "".join(json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in answers))


def _rows(figures: Figures) -> list[Figures]:
    """What a set's accuracy is compared as: a row, or one for each number of demonstrations; none without accuracy."""
    name = f"{figures['data']} {figures['split']}"
    rows = {name: figures} if "accuracy" in figures else {}
    if "few_shot" in figures:
        points = figures["few_shot"]["points"]
        rows = {f"{name}, {p['shots']} shots": p for p in points}
        rows |= {f"{name}, {p['shots']} shuffled": p["shuffled"] for p in points if "shuffled" in p}
    return [{"name": name, **{k: row[k] for k in ("accuracy", "interval", "count")}} for name, row in rows.items()]
