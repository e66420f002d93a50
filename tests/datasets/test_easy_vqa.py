"""easy-VQA: its layout, the faults it names, and the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sepiola.datasets import read
from tests.tiny import picture_file, read_fault


def easy_vqa(root: Path, rows: Any) -> Path:
    root.mkdir(exist_ok=True)
    (root / "answers.txt").write_text("circle\nyes\nno\n", encoding="utf-8")
    picture_file(root / "test" / "images" / "0.png")
    (root / "test" / "questions.json").write_text(json.dumps(rows), encoding="utf-8")
    return root


def test_easy_vqa(tmp_path: Path) -> None:
    (example,) = read("easy_vqa", easy_vqa(tmp_path, [["is it red?", "yes", 0]]), "test")
    assert example.question is not None and example.question.choices == ("circle", "yes", "no")
    assert example.question.answer == 1 and example.metadata["group"] == "test/0"
    assert "no such file" in read_fault("easy_vqa", tmp_path, "train")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({}, "expected a list"),
        ([["is it red?", "yes"]], "row 0"),
        ([["is it red?", "maybe", 0]], "'maybe' is not in answers.txt"),
        ([["is it red?", "yes", "0"]], "'image' is '0'; expected int"),
        ([["is it red?", "yes", 1]], "1.png is missing"),
    ],
)
def test_easy_vqa_faults(tmp_path: Path, rows: Any, expected: str) -> None:
    assert expected in read_fault("easy_vqa", easy_vqa(tmp_path, rows), "test")


def test_real_easy_vqa_shares_no_picture_between_its_splits(data_root: Path) -> None:
    train, test = (read("easy_vqa", data_root / "easy_vqa", split) for split in ("train", "test"))
    assert len(train) > len(test) > 1000
    assert {e.target for e in train} == set(train[0].question.choices if train[0].question else ())
    assert not {e.metadata["group"] for e in train} & {e.metadata["group"] for e in test}
    digests = [{e.images[0].digest for e in rows[:2000]} for rows in (train, test)]
    assert not digests[0] & digests[1]
