"""ScienceQA's buckets against buckets counted by hand, unknown fields, and the published table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.evaluation.metrics.scienceqa import BUCKETS, PUBLISHED, buckets_by, scienceqa_buckets
from sepiola.reasoning.answer import Answer


def example(id: str, hint: str | None, **metadata: Any) -> Example:
    return Example(id, (Message("user", ("q",)),), "a", Question("q", ("a", "b"), 0, hint=hint), metadata)


EXAMPLES = [
    example("1", "", subject="natural science", grade="grade3", has_image=True),
    example("2", "a passage", subject="natural science", grade="grade8", has_image=True),
    example("3", "a passage", subject="social science", grade="grade6", has_image=False),
    example("4", " ", subject="language science", grade="grade12", has_image=False),
    example("5", None, subject=None, grade=None, has_image=True),
    example("6", None, subject=None, grade=None, has_image=False),
]
RIGHT = {"1", "3", "5"}
ANSWERS = [Answer(e.id, "", 0 if e.id in RIGHT else None if e.id == "4" else 1) for e in EXAMPLES]


def test_buckets_counted_by_hand() -> None:
    buckets = scienceqa_buckets(EXAMPLES, ANSWERS[::-1])
    found = {name: (b["correct"], b["count"], b["unparsed"], b["unknown"]) for name, b in buckets.items()}
    assert found == {
        "NAT": (1, 2, 0, 2),
        "SOC": (1, 1, 0, 2),
        "LAN": (0, 1, 1, 2),
        "TXT": (1, 2, 0, 2),
        "IMG": (2, 3, 0, 0),
        "NO": (0, 1, 1, 1),
        "G1-6": (2, 2, 0, 2),
        "G7-12": (0, 2, 1, 2),
    }
    assert buckets["NAT"]["accuracy"] == 0.5
    low, high = buckets["NAT"]["interval"]
    assert 0 < low < 0.5 < high < 1


def test_an_empty_bucket_has_no_accuracy() -> None:
    bucket = scienceqa_buckets(EXAMPLES[5:], ANSWERS[5:])["NAT"]
    assert (bucket["accuracy"], bucket["interval"], bucket["count"], bucket["unknown"]) == (None, None, 0, 1)


def test_image_is_read_from_the_messages_when_metadata_is_silent() -> None:
    image = ImageRef(data=b"not opened")
    seen = Example("1", (Message("user", (image, "q")),), "a", Question("q", ("a", "b"), 0, hint=""))
    buckets = scienceqa_buckets([seen, example("2", "")], [Answer("1", "", 0), Answer("2", "", 1)])
    assert [buckets[name]["correct"] for name in ("IMG", "NO")] == [1, 0]
    assert [buckets[name]["count"] for name in ("IMG", "NO")] == [1, 1]


@pytest.mark.parametrize("grade", ["grade13", "grade0", "third", 3])
def test_a_grade_that_is_none_is_refused(grade: Any) -> None:
    with pytest.raises(DataError, match="expected 'grade1' to 'grade12'"):
        scienceqa_buckets([example("1", "", grade=grade)], [Answer("1", "", 0)])


def test_buckets_by_any_key() -> None:
    examples = [
        example("1", "", language="en", level=10, has_image=True),
        example("2", "", language="zh", level=9, has_image=False),
        example("3", "", language="zh", level=9),
        example("4", "", level=None),
    ]
    answers = [Answer("1", "", 0), Answer("2", "", 0), Answer("3", "", 1), Answer("4", "", 0)]
    languages = buckets_by("language", examples, answers)
    assert {k: (b["correct"], b["count"], b["unknown"]) for k, b in languages.items()} == {
        "en": (1, 1, 1),
        "zh": (1, 2, 1),
    }
    assert list(buckets_by("level", examples, answers)) == ["9", "10"]
    assert {k: b["count"] for k, b in buckets_by("has_image", examples, answers).items()} == {
        "no": 3,
        "yes": 1,
    }
    with pytest.raises(DataError, match=r"metadata key 'langauge'; known keys: has_image, language, level"):
        buckets_by("langauge", examples, answers)


def test_published_rows_are_whole_and_known() -> None:
    rows = {row["name"]: row for row in PUBLISHED}
    assert rows["Multimodal-CoT base"]["average"] == 84.91
    assert rows["VisualBERT"]["SOC"] == 69.18
    assert rows["Random chance"]["NAT"] is None
    for row in PUBLISHED:
        figures = [row[name] for name in BUCKETS]
        assert all(f is None for f in figures) or min(figures) < row["average"] < max(figures), row["name"]


def test_subject_buckets_of_the_real_minitest(data_root: Path) -> None:
    """The counts come from the records' own fields, tallied without this package's code."""
    import json

    problems = json.loads((data_root / "scienceqa/problems.json").read_text(encoding="utf-8"))
    ids = json.loads((data_root / "scienceqa/pid_splits.json").read_text(encoding="utf-8"))["minitest"]
    examples = read("scienceqa", data_root / "scienceqa", "minitest")
    assert sorted(e.id for e in examples) == sorted(ids)
    buckets = scienceqa_buckets(examples, [Answer(e.id, "", 0) for e in examples])
    records = [problems[i] for i in ids]
    assert buckets["NAT"]["count"] == sum(r["subject"] == "natural science" for r in records)
    assert buckets["NAT"]["unknown"] == sum(r["subject"] is None for r in records)
    assert buckets["IMG"]["count"] == sum(r["image"] is not None for r in records)
    assert buckets["TXT"]["count"] == sum(bool(r["hint"]) for r in records)
    assert buckets["NO"]["count"] == sum(not r["hint"] and r["image"] is None for r in records)
    assert buckets["IMG"]["correct"] == sum(r["answer"] == 0 for r in records if r["image"] is not None)
