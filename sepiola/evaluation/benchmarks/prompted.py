"""Prompted texts: solved questions stand in the prompt, and no weight changes (GPT-3, arXiv 2005.14165).

A benchmark of this kind is one file that says how its rows become prompts, where shots come from, and how an answer is
scored; the rest is here and in `sepiola.evaluation.prompting`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from rich.progress import Progress

from sepiola.data.example import Example
from sepiola.errors import DataError, SpecError
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.seeds import accuracy_rows
from sepiola.evaluation.prompting.item import PromptItem
from sepiola.evaluation.prompting.measure import folder_of, measure
from sepiola.evaluation.prompting.show import prompt_table, shown
from sepiola.evaluation.prompting.task import Task
from sepiola.reasoning.answer import Answer


class Prompted(Task):
    """A prompting task as a benchmark."""

    takes: Sequence[str] = ("shots", "seed", "show", "length", "only", "no-chat-template")

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return True

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        """Measures the items of the folder `data.root`; `shown` holds as many of them whole as are to be shown."""
        data, console = settings.data, settings.console
        if data.options or data.split != self.split:
            raise SpecError(f"{data.reader} has no option of a reader, and no split but {self.split}")
        if data.root is None:
            raise DataError(f"the benchmark '{data.reader}' lies on disk: name its folder with --data")
        shots = max(settings.few_shot.shots) if settings.few_shot is not None else 0
        scorer = model.text_scorer(settings.length)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task(f"prompting with {data.reader}", total=data.count)
            figures, results = measure(
                self,
                scorer,
                data.root,
                chat=scorer.chat if settings.chat_template else None,
                shots=shots,
                count=data.count,
                seed=settings.seed,
                only=settings.only,
                on_done=partial(progress.advance, bar),
            )
        for result in results[: settings.show]:
            console.print(shown(result), markup=False, highlight=False, soft_wrap=True)
        return Measurement({**figures, "shown": [r.to_dict() for r in results[: settings.show]]})

    def examples(self, root: str) -> list[Example]:
        """The tested items as examples, to be answered one by one and scored by `reward`."""
        return [item.to_example() for item in self.read(folder_of(root)).tested]

    def tables(self, figures: Figures) -> list[Table]:
        return [prompt_table(figures)]

    def headlines(self, figures: Figures) -> list[Headline]:
        return []

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        return {"rows": accuracy_rows(arms)}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """The first metric of the answer to one of `examples`."""
        return self.scoring.reward(PromptItem.of(example), answer)
