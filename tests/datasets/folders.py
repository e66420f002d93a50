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


HINT = "The passage below tells of a red boat that sails on a lake, number {}."


def instruction_sources(root: Path) -> Path:
    """The folders that the five kinds of instruction are made of."""
    flickr(root / "flickr8k")
    zh = root / "flickr8k" / "zh"
    lines = "".join(f"{name}.jpg#zhb#{n} 狗{name}{n}译。\n" for name in "abcd" for n in range(2))
    (zh / "flickr8kzhb.caption.txt").write_text(lines + "a.jpg#zhb#4 \n", encoding="utf-8")
    (zh / "flickr8kzhmtest.captions.txt").write_text(lines.replace("zhb", "zhm"), encoding="utf-8")
    asked = {str(n): problem(hint=HINT.format(n), choices=["red", "blue"], answer=0) for n in range(40)}
    names = [*asked]
    problems(root / "scienceqa", asked, train=names[:30], val=names[30:32], test=names[32:])
    (root / "cmrc2018").mkdir()
    for name, numbers in (("dev", range(30)), ("trial", range(30, 60))):
        paragraphs = [
            {
                "context": f"开头{n}。" + "长" * 200 + f"。城市叫第{n}城。结尾。",
                "qas": [{"id": f"Q{n}", "question": "叫什么？", "answers": [{"text": f"第{n}城"}]}],
            }
            for n in numbers
        ]
        text = json.dumps({"data": [{"paragraphs": paragraphs}]}, ensure_ascii=False)
        (root / "cmrc2018" / f"cmrc2018_{name}.json").write_text(text, encoding="utf-8")
    (root / "act" / "clinc_oos").mkdir(parents=True)
    rows: dict[str, Any] = {s: [[f"{s} {n}", "play_music"] for n in range(3)] for s in ("train", "val", "test")}
    (root / "act" / "clinc_oos" / "data_full.json").write_text(json.dumps(rows | {f"oos_{k}": [] for k in rows}))
    (root / "text" / "zh").mkdir(parents=True)
    (root / "text" / "zh" / "thucnews_headlines_class.txt").write_text("体育\n财经\n", encoding="utf-8")
    for name in ("dev", "test"):
        headlines = "".join(f"标题{name}{n}\t{n % 2}\n" for n in range(40))
        (root / "text" / "zh" / f"thucnews_headlines_{name}.txt").write_text(headlines, encoding="utf-8")
    (root / "align" / "alpaca").mkdir(parents=True)
    for language, said in (("en", "Say {}"), ("zh", "请说{}号")):
        lines = "".join(json.dumps({"instruction": said.format(n), "output": said.format(n)}) + "\n" for n in range(80))
        (root / "align" / "alpaca" / f"alpaca_{language}.jsonl").write_text(lines)
    return root
