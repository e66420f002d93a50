"""What a benchmark is: it measures a model, shows its figures, and scores one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sepiola.data.example import Example
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.reasoning.answer import Answer


@dataclass(frozen=True)
class Measurement:
    """Figures, and the answers that they were made of, each with its example; none where no question was asked."""

    figures: Figures
    answered: Sequence[tuple[Example, Answer]] = ()


class Benchmark(Protocol):
    """One benchmark. `split` is the one that `sepiola eval` measures by default.

    `takes` are the options of `sepiola eval` that it reads, beside those that all read; others are refused.
    """

    @property
    def split(self) -> str: ...

    @property
    def takes(self) -> Sequence[str]: ...

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        """Whether this model's answers to these data can be measured so."""
        ...

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        """Asks the model. Raises SpecError and DataError for settings and data that do not fit."""
        ...

    def tables(self, figures: Figures) -> list[Table]:
        """The figures of one set, or of a comparison, as tables."""
        ...

    def headlines(self, figures: Figures) -> list[Headline]:
        """What the report's head says, beside the accuracy."""
        ...

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """The figures of a comparison: each arm's over its seeds, the first arm's the report's own."""
        ...

    def reward(self, example: Example, answer: Answer) -> float | None:
        """How right one answer is, 0 to 1, by the benchmark's own judgement; None where nobody can judge it."""
        ...
