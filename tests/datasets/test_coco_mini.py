"""COCO mini: what is unknown is not empty, and the faults it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.training.objectives.detection import pictures
from tests.datasets.folders import coco


def test_coco_mini_tells_unknown_from_empty(tmp_path: Path) -> None:
    root = coco(tmp_path)
    train = read("coco_mini", root, "train")
    assert [(e.id, e.target) for e in train] == [("coco-1-en-0", "A cat."), ("coco-1-en-1", "One cat.")]
    assert train[0].metadata["objects"] == [{"kind": "cat"}]
    (held_out,) = read("coco_mini", root, "val")
    assert held_out.metadata["references"] == ["A cow."] and "objects" not in held_out.metadata
    assert [e.id for e in pictures([*train, held_out])] == ["coco-1-en-0", "coco-1-en-1"]
    texts = read("coco_mini", root, "train", task="text")
    assert [e.target for e in texts] == ["A pig.", "Pigs."], "captions of pictures that are shown stay out"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": 2}, "record 2: the id 2 stands in the file before"),
        ({"image": "images/9.jpg"}, "9.jpg is missing"),
        ({"image": "../images/1.jpg"}, "images/1.jpg is not in the folder"),
        ({"image": "/etc/passwd"}, "/etc/passwd is not in the folder"),
        ({"objects": [["cat", [0, 0, float("nan"), 1]]]}, "record 1: 'objects' are"),
        ({"objects": [["cat", None]]}, "record 1: 'objects' are"),
        ({"captions": [""]}, r"record 1: 'captions' are \[''\]"),
        ({"objects": ["cat"]}, "record 1: 'objects' are"),
        ({"split": "test"}, "record 1 has no split 'test'"),
    ],
)
def test_coco_mini_faults(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read("coco_mini", coco(tmp_path, **changes), "train")
