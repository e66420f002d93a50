"""POPE (Li et al., 2023, arXiv 2305.10355): whether a thing is in the picture, so that yes and no are counted."""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.data.example import Example
from sepiola.evaluation.benchmarks.questions import Questions
from sepiola.evaluation.figures import Figures, Table
from sepiola.evaluation.metrics.pope import pope_figures, pope_tables
from sepiola.reasoning.answer import Answer


class Pope(Questions):
    """Questions of yes and no."""

    def figures(self, examples: Sequence[Example], answers: Sequence[Answer], train: Sequence[Example] = ()) -> Figures:
        return {**super().figures(examples, answers, train), "pope": pope_figures(examples, answers)}

    def tables(self, figures: Figures) -> list[Table]:
        return [*pope_tables(figures), *super().tables(figures)]


BENCHMARK = Pope(buckets=("setting", "language"))
