"""Tidepool: questions about drawn scenes, and word problems. Their truth is known, so false claims in rationales are
counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.data.example import Example
from sepiola.evaluation.benchmarks.questions import Questions
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.hallucination import hallucination
from sepiola.reasoning.answer import Answer
from sepiola.tidepool import hallucinated


class Tidepool(Questions):
    """Questions whose rationales a program checks."""

    def figures(self, examples: Sequence[Example], answers: Sequence[Answer], train: Sequence[Example] = ()) -> Figures:
        figures = super().figures(examples, answers, train)
        if "rationales" in figures:
            figures["hallucination"] = hallucination(examples, answers, hallucinated)
        return figures


BENCHMARK = Tidepool(buckets=("language", "family", "aspect", "steps"))
