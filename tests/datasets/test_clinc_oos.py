"""CLINC150: intents and what is out of scope, and splits that share no request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sepiola.datasets import read
from tests.tiny import read_fault

LISTS: dict[str, Any] = {
    "train": [["wake me at six", "alarm"], ["what's up", "greeting"], ["hello there", "greeting"]],
    "val": [["what's up", "greeting"]],
    "test": [["set an alarm", "alarm"]],
    "oos_train": [["sing", "oos"]],
    "oos_val": [],
    "oos_test": [["what is love", "oos"]],
}


def folder(root: Path, **changes: Any) -> Path:
    (root / "data_full.json").write_text(json.dumps({**LISTS, **changes}), encoding="utf-8")
    return root


def test_an_intent_is_a_choice_and_a_call(tmp_path: Path) -> None:
    folder(tmp_path)
    alarm, love = read("clinc_oos", tmp_path, "test")
    assert alarm.question is not None and alarm.question.choices == ("alarm", "greeting", "oos")
    assert (alarm.question.answer, alarm.target) == (0, "alarm")
    assert alarm.metadata["calls"] == [{"name": "alarm", "arguments": {}}] and not alarm.metadata["irrelevant"]
    assert love.question is not None and love.question.answer == 2
    assert love.metadata["calls"] == [] and love.metadata["irrelevant"] and love.target == "oos"
    (only,) = read("clinc_oos", tmp_path, "test", out_of_scope=False)
    assert only.question is not None and only.question.choices == ("alarm", "greeting")


def test_training_has_no_request_of_other_splits(tmp_path: Path) -> None:
    texts = [e.prompt for e in read("clinc_oos", folder(tmp_path), "train")]
    assert texts == ["wake me at six", "hello there", "sing"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oos_val": None}, "the list 'oos_val' is missing"),
        ({"test": [["x"]]}, "test, entry 0: expected [request, intent], got ['x']"),
        ({"test": [["x", "dance"]]}, "test, entry 0: the intent 'dance' is none of training's"),
    ],
)
def test_faults_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in read_fault("clinc_oos", folder(tmp_path, **changes), "test")


def test_the_real_sets(data_root: Path) -> None:
    root = data_root / "act" / "clinc_oos"
    rows = {split: read("clinc_oos", root, split) for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in rows.items()} == {"train": 15095, "val": 3100, "test": 5500}
    assert rows["test"][0].question is not None and len(rows["test"][0].question.choices) == 151
    assert sum(e.metadata["irrelevant"] for e in rows["test"]) == 1000
    assert len(read("clinc_oos", root, "train", size="small")) == 7596
