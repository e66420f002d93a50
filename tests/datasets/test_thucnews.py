"""THUCNews headlines: splits that share none, and each fault named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sepiola.datasets import read
from sepiola.errors import DataError


def folder(root: Path, dev: str, test: str) -> Path:
    (root / "thucnews_headlines_class.txt").write_text("finance\nsports", encoding="utf-8")
    (root / "thucnews_headlines_dev.txt.gz").write_bytes(gzip.compress(dev.encode()))
    (root / "thucnews_headlines_test.txt").write_text(test, encoding="utf-8")
    return root


def test_a_headline_stands_in_one_split_once(tmp_path: Path) -> None:
    dev = "".join(f"股市{number}\t0\n" for number in range(40))
    root = folder(tmp_path, dev + "ＡＢ 胜\t1\n股市 7\t0\n", "ab胜\t1\n球赛\t1\n球赛\t0\n")
    texts = {split: [e.prompt for e in read("thucnews", root, split)] for split in ("train", "val", "test")}
    assert sorted(texts["train"] + texts["val"]) == sorted(f"股市{number}" for number in range(40))
    assert len(texts["train"]) > len(texts["val"]) > 0
    assert sorted(texts["test"]) == ["ab胜", "球赛"]
    (won,) = [e for e in read("thucnews", root, "test") if e.prompt == "ab胜"]
    assert won.question is not None and won.question.choices == ("finance", "sports")
    assert (won.target, won.id, won.metadata["topic"]) == ("sports", "test-1", "sports")
    (bare,) = [e for e in read("thucnews", root, "test", task="headlines") if e.id == won.id]
    assert (bare.prompt, bare.target, bare.question) == ("", "ab胜", None)


@pytest.mark.parametrize("line", ["没有类别", "标题\t2", "标题\tx", "\t0"])
def test_a_faulty_line_is_named(line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test\.txt: line 2: .* class \(0 to 1\)"):
        read("thucnews", folder(tmp_path, "", f"好\t0\n{line}\n"), "train")


def test_real_headlines_are_balanced_and_in_no_order(data_root: Path) -> None:
    rows = {split: read("thucnews", data_root / "text" / "zh", split) for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in rows.items()} == {"train": 8947, "val": 1038, "test": 9989}
    groups = [{e.metadata["group"] for e in found} for found in rows.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 8947 + 1038 + 9989
    first = [e.target for e in rows["test"][:400]]
    assert min(first.count(topic) for topic in set(first)) > 20 and len(set(first)) == 10
