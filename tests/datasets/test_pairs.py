"""Curated pairs read from a folder, by language; damaged lines are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sepiola.datasets import read
from sepiola.errors import DataError
from tests.tiny import picture_file, read_fault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture_file(tmp_path / "images" / "a.png")
    records = [
        {"id": "1", "image": "images/a.png", "request": "Describe it.", "text": "A red square.", "language": "en"},
        {"id": "2", "image": "images/a.png", "request": "描述图片。", "text": "红色。", "language": "zh", "group": "g"},
    ]
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    (tmp_path / "pairs.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def test_a_pair_is_a_picture_a_request_and_its_text(folder: Path) -> None:
    english, chinese = read("pairs", folder, "train")
    assert (english.prompt, english.target) == ("Describe it.", "A red square.")
    assert english.images[0].open().getpixel((0, 0)) == (255, 0, 0)
    assert (chinese.prompt, chinese.target, chinese.metadata["group"]) == ("描述图片。", "红色。", "g")
    assert english.metadata["group"] == "1", "a pair without a group is one of its own"
    assert [e.id for e in read("pairs", folder, "train", languages=["zh"])] == ["2"]


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    assert "no split 'test'" in read_fault("pairs", folder, "test")
    assert "languages: 'str' instances are not allowed as a Sequence value, got 'en'" in read_fault(
        "pairs", folder, "train", languages="en"
    )
    assert "no pair is in these languages: fr" in read_fault("pairs", folder, "train", languages=["fr"])
    lines = (folder / "pairs.jsonl").read_text(encoding="utf-8")
    (folder / "pairs.jsonl").write_text(lines + "\n" + lines, encoding="utf-8")
    with pytest.raises(DataError, match=r"pairs\.jsonl, pair 3: the id '1' stands in the file before"):
        read("pairs", folder, "train")
    (folder / "pairs.jsonl").write_text('{"id": "1", "image": 3}\n')
    with pytest.raises(DataError, match=r"pairs\.jsonl, pair 1: 'image' is 3"):
        read("pairs", folder, "train")
