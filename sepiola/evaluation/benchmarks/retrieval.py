"""Retrieval: pictures found by their captions, and captions by their pictures, by a model that compares the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sepiola.data.example import Example
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.retrieval import DIRECTIONS, retrieval, retrieval_tables
from sepiola.evaluation.metrics.seeds import mean_over_seeds
from sepiola.reasoning.answer import Answer
from sepiola.specs.bridge import DualSpec


def compares(model: MeasuredModel, settings: Settings) -> bool:
    """Whether the model compares pictures with texts and writes nothing yet: a dual encoder, or as the settings say."""
    return settings.compares or isinstance(model.spec.bridge, DualSpec)


class Retrieval:
    """R@k in both directions, over every example with one image and a caption."""

    split = "test"
    takes: Sequence[str] = ("option",)

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return compares(model, settings)

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        return Measurement({"retrieval": retrieval(model.retriever(), settings.examples)})

    def tables(self, figures: Figures) -> list[Table]:
        return retrieval_tables(figures.get("retrieval"))

    def headlines(self, figures: Figures) -> list[Headline]:
        return []

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """The first arm's retrieval, with that of all arms over their seeds as `arms`."""
        first = next(iter(arms.values()))[0]["retrieval"]

        def over_seeds(seeds: Sequence[Figures], direction: str) -> Figures:
            recalls = [seed["retrieval"][direction] for seed in seeds]
            return {cut: mean_over_seeds([seed[cut] for seed in recalls], "recall", 1.0) for cut in first[direction]}

        merged = {arm: {way: over_seeds(seeds, way) for way in DIRECTIONS} for arm, seeds in arms.items()}
        return {"retrieval": {**first, "arms": merged}}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """None: a ranking of a whole set is judged, and no answer."""
        return None


BENCHMARK = Retrieval()
