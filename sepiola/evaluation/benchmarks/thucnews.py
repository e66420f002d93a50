"""THUCNews: the topic of a Chinese headline. All questions have one set of options, for a classifier as baseline."""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.data.example import Example
from sepiola.evaluation.baselines.questions import linear_answers
from sepiola.evaluation.benchmarks.questions import Questions
from sepiola.reasoning.answer import Answer


class Thucnews(Questions):
    """Questions with one set of options."""

    def text_baseline(self, train: Sequence[Example], examples: Sequence[Example]) -> tuple[str, list[Answer]]:
        return "linear", linear_answers(train, examples)


BENCHMARK = Thucnews(buckets=("topic",))
