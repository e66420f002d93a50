"""Arms of a comparison against its first one, question by question: they answer the same questions, so the difference
is far surer than two intervals side by side say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sepiola.data.example import Example
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.accuracy import verdicts
from sepiola.evaluation.metrics.bootstrap import mean_interval
from sepiola.reasoning.answer import Answer

RESAMPLES = 10_000


def read_answers(path: Path) -> list[Answer]:
    """The answers that a run kept in a file; none where it kept none."""
    if not path.is_file():
        return []
    return [Answer.of(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def differences(examples: Sequence[Example], files: Mapping[str, Sequence[Path]]) -> dict[str, Figures]:
    """For each arm but the first, by its files of answers, one a seed: how much more accurate it is than the first
    (`difference`, 0 to 1, the mean over seeds), with a 95% bootstrap `difference_interval` over questions.

    Nothing where an arm answered other questions, or questions whose answer is not known.
    """
    by_id = {e.id: e for e in examples if e.question is not None}
    right = {arm: [_right(by_id, path) for path in paths] for arm, paths in files.items()}
    first = next(iter(right))
    found: dict[str, Figures] = {}
    for arm, seeds in right.items():
        if arm == first or any(a is None or b is None for a, b in zip(seeds, right[first], strict=True)):
            continue
        pairs = [(a, b) for a, b in zip(seeds, right[first], strict=True) if a is not None and b is not None]
        gains = np.mean([[a[i] - b[i] for i in by_id] for a, b in pairs], axis=0)
        found[arm] = {
            "difference": float(gains.mean()),
            "difference_interval": mean_interval(gains, resamples=RESAMPLES),
        }
    return found


def _right(examples: Mapping[str, Example], path: Path) -> dict[str, float] | None:
    """Whether each question is answered right; None where the file holds other questions."""
    answers = read_answers(path)
    known = all(e.question and (e.question.answer is not None or e.question.answer_text) for e in examples.values())
    if not examples or not known or {a.id for a in answers} != set(examples):
        return None
    return {v.example.id: float(v.correct) for v in verdicts([*examples.values()], answers)}
