"""The readers of captioned photographs: on small folders, on each fault they name, and on the real data."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepiola.datasets import read
from sepiola.errors import DataError
from tests.datasets.folders import flickr


def test_options_of_caption_readers_are_checked(tmp_path: Path) -> None:
    root = flickr(tmp_path)
    with pytest.raises(DataError, match="no task 'questions'; known: captions, text"):
        read("flickr8k", root, "test", task="questions")
    with pytest.raises(DataError, match="languages: expected a list of en, zh; got"):
        read("flickr8k", root, "test", languages=["fr"])


def test_real_photographs_with_captions(data_root: Path) -> None:
    splits = {s: read("flickr8k", data_root / "flickr8k", s) for s in ("train", "dev", "test")}
    groups = {s: {e.metadata["group"] for e in found} for s, found in splits.items()}
    assert not groups["train"] & groups["dev"] and not (groups["train"] | groups["dev"]) & groups["test"]
    for example in splits["train"][::50]:
        assert example.images[0].open().size >= (100, 100)
        assert len(example.metadata["references"]) == 5 and example.target in example.metadata["references"]
        assert not any(" ." in text or text != text.strip() for text in example.metadata["references"])
    first = next(e for e in splits["train"] if e.id == "1000268201_693b08cb0e-zh-0")
    assert first.target == "穿着连衣裙的小女孩。", "written by a person, not translated by a machine"
    coco = {s: read("coco_mini", data_root / "coco_mini", s) for s in ("train", "val")}
    assert not {e.images[0].digest for e in coco["train"]} & {e.images[0].digest for e in coco["val"]}
    assert len(coco["val"]) == len({e.metadata["group"] for e in coco["val"]}) > 200
    assert {"kind": "person"} in next(e for e in coco["train"] if e.id == "coco-790-en-0").metadata["objects"]
