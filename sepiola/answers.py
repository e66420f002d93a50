"""A model's answers to a whole dataset, and which of them to show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.console import Console

from sepiola.data.example import Example
from sepiola.errors import DataError, SpecError
from sepiola.evaluation.benchmarks import BENCHMARKS
from sepiola.evaluation.prompting.measure import Result, measure
from sepiola.facade import Model
from sepiola.reasoning.answer import Answer
from sepiola.specs.recipe import DataSpec

REPORT_SAMPLES = 24


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


def prompt_all(
    model: Model, name: str, root: str | None, console: Console, *, length: int | None = None, **asked: Any
) -> tuple[dict[str, Any], list[Result]]:
    """Measures a prompting benchmark under a progress bar; `asked` goes to `measure`."""
    from rich.progress import Progress

    if root is None:
        raise DataError(f"the benchmark '{name}' lies on disk: name its folder with --data")
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"prompting with {name}", total=asked.get("count"))
        return measure(name, model.completer(length), root, **asked, on_done=partial(progress.advance, task))


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


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spaced."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
