"""The readers of captioned photographs: on small folders, on each fault they name, and on the real data."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.training.objectives.detection import pictures


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(path)


def flickr(root: Path) -> Path:
    """Four photographs, of which that of `dev` and one of `test` are not at hand."""
    for name in ("a", "c"):
        picture(root / "images" / f"{name}.jpg")
    for split, names in (("train", "a"), ("dev", "b"), ("test", "cd")):
        (root / f"Flickr_8k.{split}Images.txt").write_text("".join(f"{name}.jpg\n" for name in names))
    english = "".join(f'{n}.jpg,"A dog , {n} ."\n{n}.jpg,Two dogs .\n' for n in "abcd")
    (root / "captions.txt").write_text(f"image,caption\n{english}")
    (root / "zh").mkdir()
    chinese = "".join(f"{n}.jpg#zhc#{i} 狗{n}{i}。\n" for n in "abcd" for i in range(2))
    (root / "zh" / "flickr8kzhc.caption.txt").write_text(chinese, encoding="utf-8")
    return root


def coco(root: Path, **changes: Any) -> Path:
    rows = [
        {"id": 1, "split": "train", "captions": ["A cat. ", "One cat."], "objects": [["cat", [0, 0, 1, 1]]]},
        {"id": 2, "split": "train", "captions": [], "objects": [["dog", [0, 0, 1, 1]], ["dog", [1, 0, 1, 1]]]},
        {"id": 3, "split": "val", "captions": ["A cow."], "objects": []},
    ]
    for row in rows:
        row["image"] = f"images/{row['id']}.jpg"
        picture(root / str(row["image"]))
    rows[0].update(changes)
    (root / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [{"id": 3, "captions": ["A cow."]}, {"id": 4, "captions": ["A pig.", "Pigs."]}]
    (root / "captions_val2017_text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    return root


def test_flickr8k_trains_on_pairs_and_tests_on_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = flickr(tmp_path)
    train = read("flickr8k", root, "train")
    assert [(e.id, e.prompt, e.target) for e in train] == [
        ("a-en-0", "Describe the photo.", "A dog, a."),
        ("a-en-1", "Describe the photo.", "Two dogs."),
        ("a-zh-0", "描述这张照片。", "狗a0。"),
        ("a-zh-1", "描述这张照片。", "狗a1。"),
    ]
    assert all(len(e.images) == 1 and e.question is None for e in train)
    with caplog.at_level(logging.WARNING):
        test = read("flickr8k", root, "test", languages=["zh"])
    assert [(e.id, e.metadata["split"], e.metadata["references"]) for e in test] == [
        ("c-zh", "test", ["狗c0。", "狗c1。"])
    ]
    assert "1 of the 2 photographs of 'test' are not at hand" in caplog.text
    texts = read("flickr8k", root, "dev", task="text")
    assert [e.target for e in texts] == ["A dog, b.", "Two dogs.", "狗b0。", "狗b1。"]
    assert not any(e.images for e in texts)
    with pytest.raises(DataError, match="no picture of this split is at hand"):
        read("flickr8k", root, "dev")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Flickr_8k.testImages.txt", "a.jpg\n", "the photograph a.jpg stands in the image lists more than once"),
        ("captions.txt", "image,caption\na.jpg,A dog\n", "the photograph c.jpg of the split 'test' has no caption"),
        ("captions.txt", "image,caption\na.jpg\n", r"line 2: \['a.jpg'\]; expected an image and its caption"),
        ("zh/flickr8kzhc.caption.txt", "a.jpg 狗。\n", "line 1: .* expected image#zhc#number and a caption"),
    ],
)
def test_flickr8k_faults(tmp_path: Path, name: str, text: str, expected: str) -> None:
    root = flickr(tmp_path)
    (root / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        read("flickr8k", root, "test")


def test_options_of_caption_readers_are_checked(tmp_path: Path) -> None:
    root = flickr(tmp_path)
    with pytest.raises(DataError, match="no task 'questions'; known: captions, text"):
        read("flickr8k", root, "test", task="questions")
    with pytest.raises(DataError, match="languages: expected a list of en, zh; got"):
        read("flickr8k", root, "test", languages=["fr"])


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
        ({"captions": [""]}, r"record 1: 'captions' are \[''\]"),
        ({"objects": ["cat"]}, "record 1: 'objects' are"),
        ({"split": "test"}, "record 1 has no split 'test'"),
    ],
)
def test_coco_mini_faults(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read("coco_mini", coco(tmp_path, **changes), "train")


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
