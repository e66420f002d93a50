"""What a trained recipe is worth: every evaluation set answered, measured beside its baselines, and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from sepiola.api import Model
from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.data.sampler import spread
from sepiola.datasets import DataCache
from sepiola.evaluation.baselines.captions import Features, frequent_captions, nearest_captions, pixel_features
from sepiola.evaluation.benchmarks.questions import evaluate as figures_of
from sepiola.evaluation.metrics.caption_figures import asks_for_captions, caption_figures, one_each
from sepiola.evaluation.metrics.retrieval import retrieval
from sepiola.evaluation.metrics.text import text_figures
from sepiola.evaluation.report.page import write_report
from sepiola.experiments.answer import (
    answer_all,
    baseline_questions,
    benchmark_of,
    few_shot,
    pick_samples,
    trained_on,
    write_answers,
)
from sepiola.models.multimodal.dual import DualEncoder
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import write_yaml
from sepiola.specs.recipe import RecipeSpec

TEXT = "text"  # the reader of plain text, which asks nothing
NEIGHBOURS = 4000  # training pictures at most that the nearest one is sought among


def evaluate(recipe: RecipeSpec, model: Model, data: DataCache, folder: Path, console: Console) -> dict[str, Any]:
    """Measures every evaluation set, writes the report, and returns it: the first set's figures at the top."""
    sets: list[dict[str, Any]] = []
    samples: list[tuple[Example, Answer]] = []
    for spec in recipe.evaluation:
        examples: Sequence[Example] = data.read(spec)
        if spec.reader == TEXT:
            figures: dict[str, Any] = text_figures(model.text_scorer(), examples, trained_on(recipe, TEXT, data))
        elif isinstance(model.network, DualEncoder) or recipe.stages[-1].objective.kind == "image-text-alignment":
            figures = {"retrieval": retrieval(model.retriever(), examples)}
        else:
            captions = asks_for_captions(examples)
            if recipe.few_shot is not None and not captions:
                pool = data.read(recipe.few_shot.data) if recipe.few_shot.data else examples
                what = f"{spec.reader} {spec.split}"
                curve, examples, answers = few_shot(model, recipe.few_shot, examples, pool, console, what)
                known = baseline_questions(recipe, spec, data)
                figures = {**figures_of(benchmark_of(spec), examples, answers, known), "few_shot": curve}
            else:
                name = spec.reader if captions else benchmark_of(spec)
                train = trained_on(recipe, None, data) if captions else baseline_questions(recipe, spec, data)
                examples, answers, figures = measured(model, name, spec.split, examples, train, console)
            write_answers(folder, spec, answers)
            samples = samples or pick_samples(examples, answers)
        sets.append({"data": spec.reader, "split": spec.split, **figures})
    report: dict[str, Any] = {
        "title": recipe.name,
        "description": recipe.description,
        "seed": recipe.seed,
        "images": recipe.images,
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


def measured(
    model: Model, name: str, split: str, examples: Sequence[Example], train: Sequence[Example], console: Console
) -> tuple[Sequence[Example], list[Answer], dict[str, Any]]:
    """A set of the dataset `name` answered: the examples (of captions one a picture and language), answers, figures.

    `train` are the examples that baselines learn from.
    """
    captions = asks_for_captions(examples)
    examples = one_each(examples) if captions else examples
    answers = answer_all(model, examples, console, f"{name} {split}")
    if captions:
        return examples, answers, _captions_measured(model, examples, answers, train)
    return examples, answers, figures_of(name, examples, answers, train)


def _captions_measured(
    model: Model, examples: Sequence[Example], answers: Sequence[Answer], train: Sequence[Example]
) -> dict[str, Any]:
    """The figures of a model's captions beside baselines: the model with its eyes shut, and what `train` offers.

    Examples of `train` that ask a question, and plain documents, are passed over.
    """
    known = [e for e in train if e.question is None and e.messages]
    seen = spread(one_each([e for e in known if len(e.images) == 1]), NEIGHBOURS)
    baselines: dict[str, Sequence[Answer]] = {}
    if known:
        baselines["most_frequent"] = frequent_captions(known, examples)
    if seen:
        baselines["nearest_pixels"] = nearest_captions(seen, examples, pixel_features)
    image_encoder = model.example_generator(1).image_encoder
    if image_encoder is not None:
        shut = _blind_captions(model, examples)
        baselines["eyes_shut"] = [Answer(e.id, shut[e.prompt].output, cut=shut[e.prompt].cut) for e in examples]
        if seen:

            def describe(images: Sequence[ImageRef]) -> Features:
                rows = (image_encoder([image]).float().flatten(0, -2).mean(dim=0).cpu().numpy() for image in images)
                return np.stack(list(rows))

            baselines["nearest_features"] = nearest_captions(seen, examples, describe)
    return caption_figures(examples, answers, baselines)


def _blind_captions(model: Model, examples: Sequence[Example]) -> Mapping[str, Answer]:
    """What the model writes by the prompt alone: one caption for each prompt."""
    prompts = list({e.prompt: e for e in examples}.values())
    return {e.prompt: a for e, a in zip(prompts, model.blind().answer(prompts), strict=True)}


def rows_of(figures: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What one set's figures are compared as: one row, or one for each number of demonstrations."""
    name = f"{figures['data']} {figures['split']}"
    if "few_shot" not in figures:
        return [(name, figures)]
    points = figures["few_shot"]["points"]
    rows = [(f"{name}, {p['shots']} shots", p) for p in points]
    return rows + [(f"{name}, {p['shots']} shuffled", p["shuffled"]) for p in points if "shuffled" in p]
