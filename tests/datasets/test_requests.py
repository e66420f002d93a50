"""Requests with known calls, from a person's own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sepiola.datasets import read
from sepiola.errors import DataError
from tests.tiny import picture_file

CALL = {"name": "feed", "arguments": {"pet": "猫"}}


def write(folder: Path, *records: dict[str, Any]) -> None:
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")


def test_requests_come_with_their_calls(tmp_path: Path) -> None:
    picture_file(tmp_path / "cat.png")
    write(tmp_path, {"text": "喂猫", "calls": [CALL], "image": "cat.png"}, {"id": "b", "text": "hello", "calls": []})
    first, second = read("requests", tmp_path, "train")
    assert first.metadata["calls"] == [CALL] and first.metadata["language"] == "zh" and len(first.images) == 1
    assert (second.id, second.metadata["calls"], second.metadata["picture"]) == ("b", [], "none")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"text": "x"}, "the field 'calls' is missing"),
        ({"text": 3, "calls": []}, "'text'"),
        ({"text": "x", "calls": ["feed"]}, "a call is an object"),
        ({"text": "x", "calls": [{"name": "feed"}]}, "the field 'arguments' is missing"),
    ],
)
def test_damaged_lines_are_named(tmp_path: Path, record: dict[str, Any], said: str) -> None:
    write(tmp_path, {"text": "a", "calls": []}, record)
    with pytest.raises(DataError, match=f"request 2.*{said}"):
        read("requests", tmp_path, "train")


def test_an_id_stands_once(tmp_path: Path) -> None:
    write(tmp_path, *[{"id": "a", "text": "a", "calls": []}] * 2)
    with pytest.raises(DataError, match="stands in the file before"):
        read("requests", tmp_path, "train")
