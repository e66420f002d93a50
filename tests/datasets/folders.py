"""Small folders in the layouts that the readers read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from tests.tiny import picture_file

PROBLEM: dict[str, Any] = {
    "question": "Which is a\nmagnet?",
    "choices": ["wood", "iron", "glass"],
    "answer": 1,
    "hint": "",
    "image": None,
    "task": "closed choice",
    "grade": "grade2",
    "subject": "natural science",
    "topic": "physics",
    "category": "Magnets",
    "skill": "Name magnets",
    "lecture": None,
    "solution": "Iron is magnetic.",
    "split": "train",
}


def problems(root: Path, records: dict[str, dict[str, Any]], **splits: list[str]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "problems.json").write_text(json.dumps(records), encoding="utf-8")
    (root / "pid_splits.json").write_text(json.dumps(splits or {"train": [*records]}), encoding="utf-8")
    return root


def problem(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(PROBLEM) | changes


def flickr(root: Path) -> Path:
    """Four photographs, of which that of `dev` and one of `test` are not at hand."""
    for name in ("a", "c"):
        picture_file(root / "images" / f"{name}.jpg")
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
        picture_file(root / str(row["image"]))
    rows[0].update(changes)
    (root / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [{"id": 3, "captions": ["A cow."]}, {"id": 4, "captions": ["A pig.", "Pigs."]}]
    (root / "captions_val2017_text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    return root
