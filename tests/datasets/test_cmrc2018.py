"""CMRC 2018's files: passages with their questions, and what is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sepiola.datasets.cmrc2018 import PassageQuestion, passages
from sepiola.errors import DataError

ASKED: dict[str, Any] = {"id": "Q", "question": "有几条腕？", "answers": [{"text": "十条"}, {"text": "十"}]}


def written(path: Path, asked: Any) -> Path:
    data = {"data": [{"paragraphs": [{"context": "鱿鱼有十条腕。", "qas": [asked]}]}]}
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return path


def test_a_passage_has_its_questions(tmp_path: Path) -> None:
    found = passages(written(tmp_path / "a.json", ASKED))
    assert found == [("鱿鱼有十条腕。", [PassageQuestion("Q", "有几条腕？", ("十条", "十"))])]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({**ASKED, "answers": []}, "a.json, Q: 'answers' is empty"),
        ({**ASKED, "answers": [{}]}, "a.json, Q: the field 'text' is missing"),
        ({"id": "Q", "answers": ASKED["answers"]}, "the field 'question' is missing"),
        ("Q", "'qas' is ['Q']; expected a list of objects"),
    ],
)
def test_faults_are_named(asked: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        passages(written(tmp_path / "a.json", asked))
    assert message in str(error.value)
