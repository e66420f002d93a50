"""ScreenAgent: a picture and a prompt in, actions as calls out, in both languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sepiola.datasets import read
from tests.tiny import picture_file, read_fault

RECORD: dict[str, Any] = {
    "actions": [{"action_type": "PlanAction", "element": "打开浏览器"}],
    "image": "images/a.png", "session": "train/1", "video_width": 1024, "video_height": 768,
    "send_prompt_en": "Plan.", "send_prompt_zh": "请给出计划。", "task_prompt_en": "Search", "task_prompt_zh": "搜索",
    "LLM_response_editer_en": '```json\n{"action_type": "PlanAction", "element": "Open the browser"}\n```',
    "LLM_response_editer_zh": "[damaged",
}  # fmt: skip


def folder(root: Path, **changes: Any) -> Path:
    picture_file(root / "images" / "a.png")
    (root / "records.jsonl").write_text(json.dumps({**RECORD, **changes}) + "\n", encoding="utf-8")
    return root


def test_an_action_is_a_call_in_the_language_of_its_prompt(tmp_path: Path) -> None:
    english, chinese = read("screenagent", folder(tmp_path), "train")
    assert english.metadata["calls"] == [{"name": "PlanAction", "arguments": {"element": "Open the browser"}}]
    assert chinese.metadata["calls"] == [{"name": "PlanAction", "arguments": {"element": "打开浏览器"}}]
    assert chinese.prompt == "请给出计划。" and chinese.metadata["screen"] == [1024, 768]
    assert len(english.images) == 1 and "tools" not in english.metadata


def test_faults_are_named(tmp_path: Path) -> None:
    assert "line 1: the field 'action_type' is missing" in read_fault(
        "screenagent", folder(tmp_path, actions=[{}]), "train"
    )
    assert "'video_width' is 'x'" in read_fault("screenagent", folder(tmp_path, video_width="x"), "train")
    assert "no language 'fr'" in read_fault("screenagent", tmp_path, "train", languages=["fr"])


def test_the_real_sessions(data_root: Path) -> None:
    examples = read("screenagent", data_root / "act" / "screenagent", "train")
    clicks = sum(c["name"] == "MouseAction" for e in examples for c in e.metadata["calls"])
    assert len(examples) == 2 * 572 and clicks == 2 * 145
