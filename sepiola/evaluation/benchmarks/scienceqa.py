"""ScienceQA (Lu et al., 2022, arXiv 2209.09513): its eight buckets, beside the published results."""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.data.example import Example
from sepiola.evaluation.baselines.questions import chance
from sepiola.evaluation.benchmarks.questions import Questions
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.scienceqa import PUBLISHED, scienceqa_buckets, scienceqa_members
from sepiola.reasoning.answer import Answer


class ScienceQA(Questions):
    """Questions cut by subject, context and grade."""

    def figures(self, examples: Sequence[Example], answers: Sequence[Answer], train: Sequence[Example] = ()) -> Figures:
        return {**super().figures(examples, answers, train), "published": PUBLISHED}

    def bucket_figures(self, examples: Sequence[Example], answers: Sequence[Answer]) -> Figures:
        return scienceqa_buckets(examples, answers)

    def bucket_chances(self, examples: Sequence[Example], train: Sequence[Example]) -> Figures:
        return {name: chance(members, train).to_dict() for name, members in scienceqa_members(examples).items()}


BENCHMARK = ScienceQA()
