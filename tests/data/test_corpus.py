"""Text files as passages: every character kept, every kind of file, and what is held out stays held out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from sepiola.data.corpus import PASSAGE, held_out, passages, text_files
from sepiola.errors import DataError

LINES = [f"第{i}行，耳乌贼的眼睛很大。\r\n" if i % 3 else f"Line {i}: the squid has big eyes.\n\n" for i in range(300)]


def test_every_kind_of_file_gives_its_text(tmp_path: Path) -> None:
    text = "".join(LINES) + "no line end"
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "deep" / "c.txt.gz").write_bytes(gzip.compress(text.encode()))
    rows = [json.dumps({"text": part, "id": 1}) for part in (text, "短文")]
    (tmp_path / "deep" / "er" / "a.jsonl").write_text("\n".join(rows))
    (tmp_path / "deep" / "d.jsonl.gz").write_bytes(gzip.compress(rows[0].encode()))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    files = text_files([tmp_path / "deep", tmp_path, tmp_path / "b.txt"])
    assert [f.name for f in files] == ["c.txt.gz", "d.jsonl.gz", "a.jsonl", "b.txt"]
    for file in files:
        cut = list(passages(file))
        assert "".join(cut) == text + ("短文" if file.name == "a.jsonl" else "")
        assert all(len(part) < PASSAGE + 100 for part in cut) and len(cut) > 5
        assert all(part.endswith("\n") for part in cut[:-2])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "中文".encode("gb18030"), r"a\.txt: not UTF-8 text .*; convert it to UTF-8"),
        ("a.txt.gz", b"not gzip", "cannot be read"),
        ("a.txt.gz", gzip.compress(b"cut short" * 99, mtime=0)[:-9], "cannot be read"),
        (
            "a.jsonl",
            b'{"text": "one"}\n{"txt": 1}\n',
            r"a\.jsonl:2: expected one JSON object a line with .*'text'",
        ),
        ("a.jsonl", b'{"text": 3}', "'text' is int, expected a text"),
        ("a.pdf", b"", r"a\.pdf: not a kind of text that is read; expected a name in \.txt, "),
        ("folder/a.pdf", b"", r"folder: no text in this folder"),
        (None, b"", r"a\.txt: no such file or folder"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str | None, content: bytes, message: str) -> None:
    path = tmp_path / (name or "a.txt")
    path.parent.mkdir(exist_ok=True)
    if name:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        [list(passages(f)) for f in text_files([path.parent if "/" in (name or "") else path])]


def test_one_passage_in_fifty_is_held_out_for_good() -> None:
    chosen = [line for line in (f"passage {i} 段" for i in range(10_000)) if held_out(line)]
    assert 150 < len(chosen) < 250
    assert chosen[:2] == ["passage 8 段", "passage 28 段"]
