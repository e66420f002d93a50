"""Held-out text: its bits per byte under a language model, beside n-grams and xz, and how the model goes on from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sepiola.data.example import Example
from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.text import text_figures, text_headlines, text_tables
from sepiola.reasoning.answer import Answer


class Text:
    """Documents that ask nothing."""

    split = "test"
    takes: Sequence[str] = ("option", "length", "kl-divergence")

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return True

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        if model.spec.language is None or model.spec.language.kind != "decoder":
            raise SpecError("text: bits per byte are for a decoder, which this model is not; measure it otherwise")
        train = settings.training(settings.data.reader)
        base = None if settings.base is None else settings.base.text_scorer(settings.length)
        return Measurement(text_figures(model.text_scorer(settings.length), settings.examples, train, base))

    def tables(self, figures: Figures) -> list[Table]:
        return text_tables(figures)

    def headlines(self, figures: Figures) -> list[Headline]:
        return text_headlines(figures)

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """Nothing: the report shows the first arm's."""
        return {}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """None: a text that goes on has no right way."""
        return None


BENCHMARK = Text()
