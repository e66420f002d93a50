"""Plain text: what is read, how it is cut, and that held-out text is not in the training text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sepiola.data.batching import fill_rows
from sepiola.datasets import read
from sepiola.errors import DataError

SPLITS = ("train", "validation", "test")


def folder(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return root


def test_paragraphs_are_gathered_into_documents(tmp_path: Path) -> None:
    folder(
        tmp_path,
        {"en/a.txt": "one one\n\n\ntwo two\n \nthree", "zh/b.txt.gz": "春眠不觉晓，\n处处闻啼鸟。\n\n夜来风雨声"},
    )
    found = {e.id: e for e in read("text", tmp_path, "train", characters=10)}
    assert [e.target for e in found.values()].sort() == ["one one\ntwo two", "three"].sort()
    assert found["zh/b.txt.gz:0"].target == "春眠不觉晓，\n处处闻啼鸟。"
    assert found["zh/b.txt.gz:0"].metadata["language"] == "zh"
    assert found["en/a.txt:0"].metadata == {
        "split": found["en/a.txt:0"].metadata["split"],
        "language": "en",
        "group": "en/a.txt",
    }
    assert not found["en/a.txt:0"].messages


def test_what_is_no_text_is_left_out(tmp_path: Path) -> None:
    book = "Title\n*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n\nIt was so.\n\n*** END OF THIS EBOOK ***\nlicence"
    folder(tmp_path, {"book.txt": book, "headlines.txt": "股市大涨\t3\n球队夺冠\t7\n", "SOURCE.txt": "where from"})
    texts = {e.target for e in read("text", tmp_path, "train")}
    assert texts == {"It was so.", "股市大涨\n球队夺冠"}


def test_held_out_text_is_not_in_the_training_text(tmp_path: Path) -> None:
    again = "This very paragraph stands in the folder more than once, as poems and licences do."
    paragraphs = [f"Paragraph number {i} tells of the {i}th day at sea, and of nothing else." for i in range(400)]
    text = "\n\n".join(p + f"\n\n{again}" * (i % 7 == 0) for i, p in enumerate(paragraphs))
    folder(tmp_path, {"a.txt": text, "b.txt": text})
    lines = {
        s: [line for e in read("text", tmp_path, s, characters=200, held_out=10) for line in e.target.split("\n")]
        for s in SPLITS
    }
    assert sum(len(found) for found in lines.values()) == 401
    assert all(len(found) > 10 for found in lines.values())
    assert not set(lines["train"]) & set(lines["test"]) and not set(lines["train"]) & set(lines["validation"])


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text for the split 'test'"):
        read("text", tmp_path, "test")
    folder(tmp_path, {"a.txt": "x"})
    with pytest.raises(
        DataError, match="none of its 1 documents of about 2000 characters falls into it, where one of 100"
    ):
        read("text", tmp_path, "test")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(DataError, match=r"a\.txt: not UTF-8 text"):
        read("text", tmp_path, "train")


def test_rows_are_filled_and_nothing_is_lost() -> None:
    documents = [(f"d{i}", list(range(100 * i, 100 * i + 3 + 7 * i))) for i in range(6)]
    rows = fill_rows(documents, 16, seed=3)
    assert [sum(len(part.target) for part in row.parts) for row in rows[:-1]] == [16] * (len(rows) - 1)
    read_back: dict[str, list[int]] = {}
    for part in (part for row in rows for part in row.parts):
        name, _, at = part.id.partition("+")
        before = read_back.setdefault(name, [])
        assert list(part.source) == (before[-1:] if at else [])  # a document goes on after a token that is given
        before += part.target
    assert read_back == dict(documents)
    assert fill_rows(documents, 16, seed=3) == rows != fill_rows(documents, 16, seed=4)


def test_real_text(data_root: Path) -> None:
    found = {s: read("text", data_root / "text", s) for s in SPLITS}
    documents = {s: {e.target for e in examples} for s, examples in found.items()}
    assert not documents["train"] & documents["test"] and not documents["train"] & documents["validation"]
    for examples in found.values():
        by_language = {
            language: [e for e in examples if e.metadata["language"] == language] for language in ("en", "zh")
        }
        assert all(sum(len(e.target.encode()) for e in some) > 150_000 for some in by_language.values())
        assert not any("Project Gutenberg License" in e.target for e in examples)
