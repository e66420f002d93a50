"""A model's answers to a whole set, under a progress bar: at once, or after growing numbers of demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from rich.progress import Progress

from sepiola.data.example import Example
from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.accuracy import accuracy, paired_difference
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.few_shot import after, demonstrations, questions_of
from sepiola.reasoning.strategies import Direct


def answer_all(model: MeasuredModel, examples: Sequence[Example], settings: Settings) -> list[Answer]:
    """Answers all examples."""
    console = settings.console
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        readings = 2 if model.rationale is not None else 1
        task = progress.add_task(f"answering {settings.what}", total=readings * len(examples))
        return model.answer(examples, on_done=partial(progress.advance, task))


def few_shot(model: MeasuredModel, settings: Settings) -> tuple[Figures, list[Example], list[Answer]]:
    """Accuracy over the number of demonstrations; then the questions, and the answers after the most of them.

    Demonstrations come of the question's own episode, or else of `few_shot.data`, or else of the examples themselves.
    Raises SpecError unless the settings ask for it and the model answers directly.
    """
    spec, examples, strategy = settings.few_shot, settings.examples, model.strategy()
    if spec is None or not isinstance(strategy, Direct):
        raise SpecError("few_shot: demonstrations stand before the questions of a 'direct' strategy")
    in_episodes = any("episode" in e.metadata for e in examples)
    pool = examples if in_episodes or spec.data is None else settings.read(spec.data)
    questions = questions_of(examples)
    image_encoder = strategy.generator.image_encoder if spec.choose == "rices" else None
    points, last, false = list[Figures](), list[Answer](), list[Answer]()
    for shots in sorted(spec.shots):
        shown = demonstrations(questions, pool, shots, image_encoder=image_encoder)
        last = after(strategy, shown).answer(questions)
        point: Figures = {"shots": shots, **accuracy(questions, last).to_dict()}
        if spec.shuffled and shots > 1:
            false = after(strategy, shown, exchanged=True).answer(questions)
            point["shuffled"] = accuracy(questions, false).to_dict()
        settings.console.print(f"{settings.what}, {shots} shots: accuracy {100 * (point['accuracy'] or 0):.1f}%")
        points.append(point)
    figures: Figures = {"choose": spec.choose, "points": points}
    if false:
        figures["cost_of_shuffling"] = asdict(paired_difference(questions, last, false))
    return figures, questions, last
