"""ScienceQA's buckets and published results (Lu et al., 2022, arXiv 2209.09513): accuracy by subject, context
and grade, with the count and the interval of each bucket, beside the figures that the papers report.

A record whose subject, grade or hint is not known stands in no bucket of that kind and is counted as unknown,
so that a bucket never mixes what is known with a guess. Generic buckets by any metadata key serve other
datasets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.accuracy import Unparsed, Verdict, accuracy_of, verdicts
from sepiola.reasoning.answer import Answer

BUCKETS = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12")

_SUBJECTS = {"NAT": "natural science", "SOC": "social science", "LAN": "language science"}
_GRADE = re.compile(r"^grade\s*(\d{1,2})$")

PUBLISHED: tuple[Figures, ...] = tuple(
    dict(zip(("name", *BUCKETS, "average"), row, strict=True))
    for row in (
        ("Human", 90.23, 84.97, 87.48, 89.60, 87.50, 88.10, 91.59, 82.42, 88.40),
        ("Random chance", None, None, None, None, None, None, None, None, 39.83),
        ("MCAN", None, None, None, None, None, None, None, None, 54.54),
        ("BAN", None, None, None, None, None, None, None, None, 59.37),
        ("ViLT", None, None, None, None, None, None, None, None, 61.14),
        ("Patch-TRM", None, None, None, None, None, None, None, None, 61.42),
        ("VisualBERT", 59.33, 69.18, 61.18, 62.71, 62.17, 58.54, 62.96, 59.92, 61.87),
        ("UnifiedQA", None, None, None, None, None, None, None, None, 70.12),
        ("UnifiedQA with CoT", None, None, None, None, None, None, None, None, 74.11),
        ("GPT-3.5 with CoT", None, None, None, None, None, None, None, None, 75.17),
        ("Multimodal-CoT base", 87.52, 77.17, 85.82, 87.88, 82.90, 86.83, 84.65, 85.37, 84.91),
        ("Multimodal-CoT large", 95.91, 82.00, 90.82, 95.26, 88.80, 92.89, 92.44, 90.31, 91.68),
        ("T-SciQ large", None, None, None, None, None, None, None, None, 96.18),
    )
)
"""Test accuracy in percent on all 4,241 test questions, as published; None where the figure is not given
here."""


def scienceqa_buckets(
    examples: Sequence[Example], answers: Sequence[Answer], unparsed: Unparsed = "wrong", seed: int = 0
) -> dict[str, Figures]:
    """ScienceQA's eight buckets, each `{"accuracy", "interval", "count", "unparsed", …, "unknown"}` (shares,
    0 to 1).

    `unknown` is the number of examples of which it is not known whether they belong to the bucket. TXT: the
    hint is not empty (with an image or without); IMG: there is an image; NO: neither. Raises DataError as
    `verdicts` does.
    """
    judged = verdicts(examples, answers, unparsed, seed)
    return {name: _bucket(judged, partial(_member, name), unparsed) for name in BUCKETS}


def buckets_by(
    key: str,
    examples: Sequence[Example],
    answers: Sequence[Answer],
    unparsed: Unparsed = "wrong",
    seed: int = 0,
) -> dict[str, Figures]:
    """One bucket for each value of a metadata key ("language", "family", "has_image" …), in the values'
    order.

    Examples without the key, or with None, are counted as `unknown` in every bucket. Raises DataError as
    `verdicts` does, and when no example has the key.
    """
    judged = verdicts(examples, answers, unparsed, seed)
    values = [_value(v.example, key) for v in judged]
    known = sorted({value for value in values if value is not None}, key=_natural)
    if judged and not known:
        raise DataError(f"no example has the metadata key '{key}'; {_known_keys(examples)}")

    def belongs(name: str) -> Callable[[Example], bool | None]:
        return lambda example: None if (value := _value(example, key)) is None else value == name

    return {name: _bucket(judged, belongs(name), unparsed) for name in known}


def scienceqa_members(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """The examples of each of ScienceQA's buckets that are known to belong to it."""
    return {name: [e for e in examples if _member(name, e)] for name in BUCKETS}


def members_by(key: str, examples: Sequence[Example]) -> dict[str, list[Example]]:
    """The examples that hold each value of a metadata key, in the values' order."""
    values = {e.id: _value(e, key) for e in examples}
    known = sorted({value for value in values.values() if value is not None}, key=_natural)
    return {value: [e for e in examples if values[e.id] == value] for value in known}


def has_image(example: Example) -> bool:
    """Whether the question has an image: the metadata's word, else whether the messages hold one."""
    known = example.metadata.get("has_image")
    return bool(example.images) if known is None else bool(known)


def _bucket(judged: Sequence[Verdict], belongs: Callable[[Example], bool | None], unparsed: Unparsed) -> Figures:
    membership = [belongs(v.example) for v in judged]
    inside = [v for v, member in zip(judged, membership, strict=True) if member]
    return accuracy_of(inside, unparsed).to_dict() | {"unknown": sum(member is None for member in membership)}


def _member(bucket: str, example: Example) -> bool | None:
    """Whether the example belongs to the bucket; None when that is not known."""
    if bucket in _SUBJECTS:
        subject = example.metadata.get("subject")
        return None if not subject else subject == _SUBJECTS[bucket]
    if bucket.startswith("G"):
        grade = _grade(example)
        return None if grade is None else (grade <= 6) == (bucket == "G1-6")
    if bucket == "IMG":
        return has_image(example)
    hint = example.question.hint if example.question is not None else None
    if bucket == "TXT":
        return None if hint is None else bool(hint.strip())
    if has_image(example):
        return False
    return None if hint is None else not hint.strip()


def _grade(example: Example) -> int | None:
    grade = example.metadata.get("grade")
    if grade is None or grade == "":
        return None
    match = _GRADE.match(str(grade))
    if match is None or not 1 <= int(match[1]) <= 12:
        raise DataError(f"example '{example.id}': grade is '{grade}', expected 'grade1' to 'grade12'")
    return int(match[1])


def _value(example: Example, key: str) -> str | None:
    value = has_image(example) if key == "has_image" else example.metadata.get(key)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else str(value)


def _natural(value: str) -> list[tuple[int, int, str]]:
    """Sorts grade2 before grade10."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", value) if p]


def _known_keys(examples: Sequence[Example]) -> str:
    keys = sorted({k for e in examples for k in e.metadata})
    return f"known keys: {', '.join(keys)}" if keys else "the examples have no metadata"
