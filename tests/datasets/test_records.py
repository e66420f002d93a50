"""Folders of records: damage is named by file and line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sepiola.datasets import read
from sepiola.datasets.records import json_lines
from sepiola.errors import DataError
from tests.datasets.folders import problem, problems
from tests.tiny import picture_file, read_fault


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    assert "no such folder" in read_fault("scienceqa", tmp_path / "gone", "train")
    assert "expected problems.json" in read_fault("scienceqa", tmp_path, "train")
    problems(tmp_path, {"1": problem(image="image.png")})
    (tmp_path / "train").mkdir()
    assert "image.png is missing" in read_fault("scienceqa", tmp_path, "train")
    whole = (tmp_path / "problems.json").read_text(encoding="utf-8")
    (tmp_path / "problems.json").write_text(whole[:100], encoding="utf-8")
    assert "problems.json: not valid JSON at column" in read_fault("scienceqa", tmp_path, "train")
    (tmp_path / "problems.json").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in read_fault("scienceqa", tmp_path, "train")
    (tmp_path / "problems.json").write_text("[]", encoding="utf-8")
    assert "expected an object from problem id to record, got list" in read_fault("scienceqa", tmp_path, "train")
    (tmp_path / "problems.json").write_text('{"1": "text"}', encoding="utf-8")
    assert "problem 1: expected an object, got str" in read_fault("scienceqa", tmp_path, "train")
    (tmp_path / "pid_splits.json").unlink()
    assert "pid_splits.json: no such file" in read_fault("scienceqa", tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("5", "expected an object, got 5"),
        ("null", "expected an object, got None"),
        ("[" * 100_000, r"not valid JSON \(nested too deeply\)"),
        (f'{{"id": {"9" * 5000}}}', r"not valid JSON \(Exceeds the limit"),
        ("{", "not valid JSON at column 2"),
    ],
)
def test_a_line_that_is_no_record_is_named(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"id": 1}}\n\n{text}\n', encoding="utf-8")
    with pytest.raises(DataError, match=rf"a\.jsonl, line 3: {reason}") as error:
        json_lines(tmp_path / "a.jsonl", "id")
    assert len(str(error.value)) < 400


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl: not a regular file"):
        json_lines(tmp_path / "a.jsonl")


def test_an_image_cut_short_is_named_when_it_is_opened(tmp_path: Path) -> None:
    path = picture_file(tmp_path / "train" / "7" / "image.png")
    path.write_bytes(path.read_bytes()[:40])
    (example,) = read("scienceqa", problems(tmp_path, {"7": problem(image="image.png")}), "train")
    with pytest.raises(DataError, match=re.escape(str(path))):
        example.images[0].open()
