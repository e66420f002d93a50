"""Preferences as Examples: they are made, read again, and refused where they are damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sepiola.data.example import Example, Message
from sepiola.data.preferences import KEY, Completion, completions_of, preference
from sepiola.errors import DataError

ASKED = [Message("user", ("磁铁怎么工作？",))]
REPLIES = [Completion("It falls.", -1.0), Completion("它吸铁。", 2.0, ((1, 3),)), Completion("It pulls iron.", 2.0)]


def test_an_example_holds_its_completions_as_plain_data() -> None:
    example = preference("e", ASKED, REPLIES, {"language": "zh"})
    assert example.target == "它吸铁。", "the first of the best"
    assert example.metadata["language"] == "zh"
    assert completions_of(example) == tuple(REPLIES)
    again = replace(example, metadata=json.loads(json.dumps(dict(example.metadata))))
    assert completions_of(again) == tuple(REPLIES)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (None, "no completions"),
        ([], "no completions"),
        ([{"score": 1.0}], "completion 1: expected its 'text' and 'score'"),
        ([{"text": "a", "score": 1.0}, {"text": "b", "score": float("nan")}], "completion 2: 'score' is nan"),
        ([{"text": "a", "score": True}], "'score' is True"),
        ([{"text": "a", "score": 1.0}, {"text": "a", "score": 0.0}], "two completions are the same text"),
        ([{"text": "ab", "score": 1.0, "corrected": [[0, 3]]}], "within the 2 letters"),
        ([{"text": "ab", "score": 1.0, "corrected": [[1, 1]]}], "within the 2 letters"),
        ([{"text": "ab", "score": 1.0, "corrected": ["ab"]}], "the first letter's place"),
    ],
)
def test_damaged_completions_are_refused_by_name(records: Any, message: str) -> None:
    with pytest.raises(DataError, match="example 'e'") as caught:
        completions_of(Example("e", tuple(ASKED), "", metadata={KEY: records}))
    assert message in str(caught.value)


def test_a_preference_without_completions_is_refused() -> None:
    with pytest.raises(DataError, match="no completions"):
        preference("e", ASKED, [])
