"""A model's answers to a whole dataset, which of them to show, and what the baselines beside them learn from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from sepiola.api import Model
from sepiola.checkpoints.store import write_text
from sepiola.data.example import Example
from sepiola.data.sampler import spread
from sepiola.datasets import DataCache
from sepiola.errors import DataError, SpecError
from sepiola.evaluation.benchmarks.questions import BENCHMARKS
from sepiola.evaluation.metrics.accuracy import accuracy, paired_difference
from sepiola.evaluation.prompting.measure import Result, measure
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.few_shot import after, demonstrations, questions_of
from sepiola.reasoning.strategies import Direct
from sepiola.specs.recipe import DataSpec, FewShotSpec, RecipeSpec

REPORT_SAMPLES = 24
BASELINE_QUESTIONS = 12_000  # as many as ScienceQA has; the neighbours of more would take minutes


def benchmark_of(spec: DataSpec) -> str:
    """The benchmark of a dataset. Raises SpecError when there is none."""
    if spec.reader not in BENCHMARKS:
        raise SpecError(f"evaluation: no benchmark for '{spec.reader}'; known: {', '.join(BENCHMARKS)}")
    return spec.reader


def answer_all(model: Model, examples: Sequence[Example], console: Console, what: str) -> list[Answer]:
    """Answers all examples under a progress bar."""
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        stages = 2 if model.rationale is not None else 1
        task = progress.add_task(f"answering {what}", total=stages * len(examples))
        return model.answer(examples, on_done=partial(progress.advance, task))


def few_shot(
    model: Model,
    spec: FewShotSpec,
    examples: Sequence[Example],
    pool: Sequence[Example],
    console: Console,
    what: str,
) -> tuple[dict[str, Any], list[Example], list[Answer]]:
    """Accuracy over the number of demonstrations; then the questions, and the answers after the most of them.

    Demonstrations come of the pool. Raises SpecError unless the model answers directly.
    """
    strategy = model.strategy()
    if not isinstance(strategy, Direct):
        raise SpecError("few_shot: demonstrations stand before the questions of a 'direct' strategy")
    questions = questions_of(examples)
    image_encoder = strategy.generator.image_encoder if spec.choose == "rices" else None
    points, last, false = [], list[Answer](), list[Answer]()
    for shots in sorted(spec.shots):
        found = demonstrations(questions, pool, shots, image_encoder=image_encoder)
        last = after(strategy, found).answer(questions)
        point: dict[str, Any] = {"shots": shots, **accuracy(questions, last).to_dict()}
        if spec.shuffled and shots > 1:
            false = after(strategy, found, exchanged=True).answer(questions)
            point["shuffled"] = accuracy(questions, false).to_dict()
        console.print(f"{what}, {shots} shots: accuracy {100 * (point['accuracy'] or 0):.1f}%")
        points.append(point)
    figures: dict[str, Any] = {"choose": spec.choose, "points": points}
    if false:
        figures["cost_of_shuffling"] = asdict(paired_difference(questions, last, false))
    return figures, questions, last


def prompt_all(
    model: Model, name: str, root: str | None, console: Console, *, length: int | None = None, **asked: Any
) -> tuple[dict[str, Any], list[Result]]:
    """Measures a prompting benchmark under a progress bar; `asked` goes to `measure`."""
    from rich.progress import Progress

    if root is None:
        raise DataError(f"the benchmark '{name}' lies on disk: name its folder with --data")
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"prompting with {name}", total=asked.get("count"))
        return measure(name, model.text_scorer(length), root, **asked, on_done=partial(progress.advance, task))


def write_answers(folder: Path, spec: DataSpec, answers: Sequence[Answer]) -> None:
    """Every answer as it came, one JSON line each, in `answers-DATASET-SPLIT.jsonl`."""
    lines = (json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in answers)
    write_text(folder / f"answers-{spec.reader}-{spec.split}.jsonl", "".join(lines))


def trained_on(recipe: RecipeSpec, reader: str | None, data: DataCache) -> list[Example]:
    """All examples of a dataset (of any: None) that the recipe's stages train on: what baselines may learn from."""
    stages = [stage for stage in recipe.stages if reader in (stage.data.reader, None)]
    return list({e.id: e for stage in stages for e in data.read(stage.data)}.values())


def baseline_questions(recipe: RecipeSpec, spec: DataSpec, data: DataCache) -> list[Example]:
    """What the text baselines learn from: the questions of this dataset that the recipe's stages train on."""
    return spread([e for e in trained_on(recipe, spec.reader, data) if e.question is not None], BASELINE_QUESTIONS)


def pick_samples(examples: Sequence[Example], answers: Sequence[Answer]) -> list[tuple[Example, Answer]]:
    """Some answers to show, spread evenly: as many wrong ones as right ones where there are enough."""
    by_id = {a.id: a for a in answers}
    pairs = [(e, by_id[e.id]) for e in examples]
    groups = [[p for p in pairs if _right(*p) is verdict] for verdict in (True, False)]
    half = REPORT_SAMPLES // 2
    wrong = min(len(groups[1]), half)
    return spread(groups[0], REPORT_SAMPLES - wrong) + spread(groups[1], wrong)


def _right(example: Example, answer: Answer) -> bool:
    return example.question is not None and answer.choice is not None and answer.choice == example.question.answer
