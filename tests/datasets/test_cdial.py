"""CDial-GPT: every turn after the first, without the spaces of the files, and dialogues of one split."""

from __future__ import annotations

import json
from pathlib import Path

from sepiola.datasets import read
from tests.tiny import read_fault

LONGER = {
    "train": [["早 安", "早 ， 吃 饭 了 ？", "吃 了 iPhone 6 真 好"], ["测 试", "不 要"]],
    "valid": [["测 试", "好"]],
    "test": [["三", "四"]],
}


def folder(root: Path, longer: object = LONGER) -> Path:
    (root / "toy_data.json").write_text(json.dumps(longer, ensure_ascii=False), encoding="utf-8")
    (root / "toy_train.txt").write_text("你 好\t嗯 嗯\n一\t二\n", encoding="utf-8")
    (root / "toy_valid.txt").write_text("甲\t乙\n一\t丙\n", encoding="utf-8")
    return root


def test_turns_follow_turns(tmp_path: Path) -> None:
    rows = {split: read("cdial", folder(tmp_path), split) for split in ("train", "val", "test")}
    said = {s: [([m.text for m in e.messages], e.target) for e in found] for s, found in rows.items()}
    assert said["train"] == [
        (["你好"], "嗯嗯"),
        (["早安"], "早，吃饭了？"),
        (["早安", "早，吃饭了？"], "吃了iPhone 6真好"),
    ]
    assert said["val"] == [(["甲"], "乙"), (["测试"], "好")] and said["test"] == [(["一"], "丙"), (["三"], "四")]
    last = rows["train"][-1]
    assert [m.role for m in last.messages] == ["assistant", "user"] and last.metadata["language"] == "zh"
    assert rows["train"][1].metadata["dialogue"] == last.metadata["dialogue"]


def test_faults_are_named(tmp_path: Path) -> None:
    assert "expected the lists train, valid and test" in read_fault("cdial", folder(tmp_path, {"train": []}), "train")
    damaged = {**LONGER, "train": [["a", 3]]}
    assert "a dialogue is ['a', 3]" in read_fault("cdial", folder(tmp_path, damaged), "train")


def test_the_real_set(data_root: Path) -> None:
    rows = {split: read("cdial", data_root / "align" / "cdial_gpt_toy", split) for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in rows.items()} == {"train": 12647, "val": 1592, "test": 1200}
    groups = [{e.metadata["group"] for e in found} for found in rows.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2]
    assert not any(" 的" in e.target for e in rows["test"])
