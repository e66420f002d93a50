"""DiaSafety: a reply's rating, and contexts that stand in one split alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sepiola.datasets import read
from tests.tiny import read_fault

ROWS: dict[str, list[tuple[str, str, str]]] = {
    "train": [("Hi  there", "Hello", "Safe"), ("Shared", "Go away", "Unsafe"), ("Both", "x", "Safe")],
    "val": [("shared ", "You too", "Safe"), ("BOTH", "", "Safe")],
    "test": [("both", "Leave me", "Unsafe")],
}


def folder(root: Path, **changes: Any) -> Path:
    for split, rows in {**ROWS, **changes}.items():
        records = [dict(zip(("context", "response", "label"), row, strict=True), category="c") for row in rows]
        (root / f"{split}.json").write_text(json.dumps(records), encoding="utf-8")
    return root


def test_a_reply_is_rated_and_no_context_stands_in_two_splits(tmp_path: Path) -> None:
    folder(tmp_path)
    (only,) = read("diasafety", tmp_path, "train")
    assert (only.prompt, only.target, only.metadata["ratings"]) == ("Hi  there", "Hello", {"SAFE": 1})
    (val,), (test,) = read("diasafety", tmp_path, "val"), read("diasafety", tmp_path, "test")
    assert val.target == "You too" and test.metadata["ratings"] == {"SAFE": 0} and test.metadata["category"] == "c"
    assert len(read("diasafety", tmp_path, "train", shared_contexts=True)) == 3


def test_halves_share_no_context(tmp_path: Path) -> None:
    rows = [(f"context {number // 2}", f"reply {number}", "Safe") for number in range(40)]
    folder(tmp_path, train=rows)
    halves = [read("diasafety", tmp_path, "train", half=half) for half in (1, 2)]
    asked = [{example.prompt for example in half} for half in halves]
    assert all(asked) and not asked[0] & asked[1]
    assert len(halves[0]) + len(halves[1]) == len(read("diasafety", tmp_path, "train")) == 40


@pytest.mark.parametrize(
    ("rows", "message"),
    [([("a", "b", "safe")], "'label' is 'safe'; expected Safe or Unsafe"), ([("a", 3, "Safe")], "'response' is 3")],
)
def test_faults_are_named(rows: Any, message: str, tmp_path: Path) -> None:
    assert message in read_fault("diasafety", folder(tmp_path, test=rows), "test")


def test_the_real_set(data_root: Path) -> None:
    rows = {split: read("diasafety", data_root / "align" / "diasafety", split) for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in rows.items()} == {"train": 7263, "val": 985, "test": 1094}
    groups = [{e.metadata["group"] for e in found} for found in rows.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
