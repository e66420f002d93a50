"""Preferences: whether a reward model scores the better completion of a prompt higher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.progress import track

from sepiola.data.example import Example, Message
from sepiola.data.preferences import KEY, completions_of
from sepiola.evaluation.baselines.preferences import preference_baselines
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.preferences import preference_figures, preference_tables
from sepiola.evaluation.metrics.seeds import mean_over_seeds
from sepiola.reasoning.answer import Answer
from sepiola.text.conversation import without_pictures

FIGURES = ("accuracy", "interval", "count", "prompts", "kendall_tau", "alike_in_length", "baselines")
PROMPTS = 16  # whose completions are scored at a time


class Preferences:
    """Any set of prompts with completions, for a reward model."""

    split = "test"
    takes: Sequence[str] = ("option",)

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return model.spec.scores and any(KEY in example.metadata for example in settings.examples)

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        """Scores every completion of every prompt; baselines learn from the training examples."""
        examples, console = settings.examples, settings.console
        starts = range(0, len(examples), PROMPTS)
        scores: list[list[float]] = []
        for start in track(starts, settings.what, console=console, disable=not console.is_terminal, transient=True):
            scores += scored(model, examples[start : start + PROMPTS])
        known, missing = settings.learnable(settings.data.reader)
        known = [example for example in known if KEY in example.metadata]  # a stage of Tidepool may have captions
        baselines = {name: found.to_dict() for name, found in preference_baselines(known, examples).items()}
        figures = {**preference_figures(examples, scores, settings.seed), "baselines": baselines}
        if missing:
            figures["baselines_left_out"] = {"baselines": "linear", "reason": missing}
        return Measurement(figures)

    def tables(self, figures: Figures) -> list[Table]:
        return preference_tables(figures)

    def headlines(self, figures: Figures) -> list[Headline]:
        return [
            {
                "name": "Pairs in the right order",
                "value": f"{100 * figures['accuracy']:.1f}%",
                "note": f"of {figures['count']:,}; Kendall's tau {figures['kendall_tau']['value']:.3f}",
            }
        ]

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """The first arm's figures, with those of all arms over their seeds as `arms`."""
        first = next(iter(arms.values()))[0]
        own = {name: first[name] for name in FIGURES if name in first}
        return {**own, "arms": {arm: _over_seeds(seeds) for arm, seeds in arms.items()}}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """None: completions are scored, and no answer."""
        return None


def scored(model: MeasuredModel, examples: Sequence[Example]) -> list[list[float]]:
    """The scores of each example's completions; of pictures a model of text alone reads the text."""
    read = list[Message] if model.spec.sees else without_pictures
    rows = [completions_of(example) for example in examples]
    talks = [
        [*read(example.messages), Message("assistant", (one.text,))]
        for example, row in zip(examples, rows, strict=True)
        for one in row
    ]
    found = iter(model.score(talks))
    return [[next(found) for _ in row] for row in rows]


def _over_seeds(seeds: Sequence[Figures]) -> Figures:
    taus = mean_over_seeds([each["kendall_tau"] for each in seeds], "value", 1.0)
    alike = mean_over_seeds([each["alike_in_length"] for each in seeds], "accuracy", 1.0)
    return {**mean_over_seeds(seeds, "accuracy", 1.0), "kendall_tau": taus, "alike_in_length": alike}


BENCHMARK = Preferences()
