"""Folders of records: damage is named by file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sepiola.datasets import read
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
    assert "problems.json: damaged JSON at line 1" in read_fault("scienceqa", tmp_path, "train")
    (tmp_path / "problems.json").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in read_fault("scienceqa", tmp_path, "train")
    (tmp_path / "problems.json").write_text("[]", encoding="utf-8")
    assert "expected an object from problem id to record, got list" in read_fault("scienceqa", tmp_path, "train")
    (tmp_path / "problems.json").write_text('{"1": "text"}', encoding="utf-8")
    assert "problem 1: expected an object, got str" in read_fault("scienceqa", tmp_path, "train")
    (tmp_path / "pid_splits.json").unlink()
    assert "pid_splits.json: cannot read" in read_fault("scienceqa", tmp_path, "train")


def test_an_image_cut_short_is_named_when_it_is_opened(tmp_path: Path) -> None:
    path = picture_file(tmp_path / "train" / "7" / "image.png")
    path.write_bytes(path.read_bytes()[:40])
    (example,) = read("scienceqa", problems(tmp_path, {"7": problem(image="image.png")}), "train")
    with pytest.raises(DataError, match=re.escape(str(path))):
        example.images[0].open()
