"""The five kinds of instruction, each in each language by its own score, beside trivial baselines.

With `shots`, solved instructions of the same kind and language stand before each: how far a model comes that was never
tuned. Each number of shots is measured, and the first of the figures is the one that tables show.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.evaluation.baselines.instructions import instruction_baselines
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.bootstrap import mean_interval
from sepiola.evaluation.metrics.instructions import SCORES, score
from sepiola.reasoning.answer import Answer

TOKENS = 96


class InstructionKinds:
    """Instructions whose `kind` has a score."""

    split = "test"
    takes: Sequence[str] = ("option", "shots", "seed")

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return all(example.metadata.get("kind") in SCORES for example in settings.examples)

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        """Figures of each kind and language: `shots` by their number, each a `score` with its interval; `baselines`."""
        examples = [*settings.examples]
        train, missing = settings.learnable(settings.data.reader)
        few = settings.few_shot
        pool = train if few is None or few.data is None else settings.read(few.data)
        shots = [0] if few is None else sorted(few.shots)
        replies = {number: self._replies(model, examples, pool, number, settings.seed) for number in shots}
        cells: dict[str, Figures] = {}
        for kind, language in dict.fromkeys((e.metadata["kind"], e.metadata["language"]) for e in examples):
            places = [at for at, e in enumerate(examples) if _cell(e) == (kind, language)]
            asked = [examples[at] for at in places]
            known = [e for e in train if _cell(e) == (kind, language)]
            cells[f"{kind} {language}"] = {
                "count": len(asked),
                "shots": {n: _figure(kind, asked, [texts[at] for at in places]) for n, texts in replies.items()},
                "baselines": {
                    name: _figure(kind, asked, texts) for name, texts in instruction_baselines(known, asked).items()
                },
            }
        figures: Figures = {"count": len(examples), "kinds": cells}
        if missing:
            figures["baselines_left_out"] = {"baselines": "those that learn", "reason": missing}
        return Measurement(
            figures, [(e, Answer(e.id, text)) for e, text in zip(examples, replies[shots[-1]], strict=True)]
        )

    def _replies(
        self, model: MeasuredModel, examples: Sequence[Example], pool: Sequence[Example], shots: int, seed: int
    ) -> list[str]:
        """What the model writes after so many solved instructions of the kind and language."""
        generator = model.example_generator(TOKENS)
        if shots:
            groups: dict[tuple[str, str], list[Example]] = defaultdict(list)
            for example in pool:
                groups[_cell(example)].append(example)
            demonstrations = {}
            for example in examples:
                others = groups[_cell(example)]
                if len(others) < shots:
                    raise DataError(f"{example.id}: {shots} shots asked for, and {len(others)} to choose from")
                demonstrations[example.id] = random.Random(f"{seed} {example.id}").sample(others, shots)
            generator = generator.showing(demonstrations)
        return [texts[0] for texts in generator.write(examples)]

    def tables(self, figures: Figures) -> list[Table]:
        """One table: kinds in columns, shots and baselines in lines."""
        kinds = figures["kinds"]
        names: dict[str, list[Figures | None]] = {}
        for at, cell in enumerate(kinds.values()):
            rows = {f"{n} shots": found for n, found in cell["shots"].items()} | cell["baselines"]
            for name, found in rows.items():
                names.setdefault(name, [None] * len(kinds))[at] = found
        shown = {name for cell in kinds.values() for name in (f"{n} shots" for n in cell["shots"])}
        return [
            Table(
                title="Instructions",
                columns=[{"name": name, "notes": [f"{cell['count']}"]} for name, cell in kinds.items()],
                lines=[
                    {
                        "name": name,
                        "own": name in shown,
                        "published": False,
                        "cells": [
                            None
                            if found is None
                            else {
                                "value": f"{100 * found['score']:.1f}",
                                "note": "{:.1f}–{:.1f}".format(*(100 * bound for bound in found["interval"])),
                            }
                            for found in row
                        ],
                    }
                    for name, row in names.items()
                ],
                note="chrF (translation), F1 of pairs (entities), F1 of words (comprehension), share right "
                "(classification), ROUGE-L (generation), each of 100; 95% intervals by a bootstrap over the items.",
            )
        ]

    def headlines(self, figures: Figures) -> list[Headline]:
        return []

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """Nothing: the report shows the first arm's."""
        return {}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """The kind's own score."""
        kind = example.metadata.get("kind")
        return score(kind, answer.output, example.target) if kind in SCORES else None


def _cell(example: Example) -> tuple[str, str]:
    return example.metadata["kind"], example.metadata["language"]


def _figure(kind: str, asked: Sequence[Example], replies: Sequence[str]) -> Figures:
    scores = [score(kind, reply, example.target) for example, reply in zip(asked, replies, strict=True)]
    return {"score": sum(scores) / len(scores), "interval": mean_interval(scores)}


BENCHMARK = InstructionKinds()
