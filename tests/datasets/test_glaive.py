"""Glaive's tool calls: every request with what was said before it, and splits that share no function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sepiola.datasets import read
from tests.tiny import read_fault

CALL = '{"name": "tip", "arguments": {"bill": 40}}'
TALK = [("human", "Hi"), ("gpt", "Hello."), ("human", "小费多少?"), ("function_call", CALL), ("observation", "8"),
        ("gpt", "Eight."), ("human", "Thanks!"), ("gpt", "Bye.")]  # fmt: skip


def talk(turns: Any, *names: str) -> dict[str, Any]:
    tools = [
        {"name": name, "description": "算。", "parameters": {"type": "object", "properties": {}}} for name in names
    ]
    conversation = [{"from": speaker, "value": said} for speaker, said in turns]
    return {"conversations": conversation, "tools": json.dumps(tools) if tools else ""}


def folder(root: Path, *talks: dict[str, Any]) -> Path:
    for language, rows in (("en", talks), ("zh", ())):
        (root / f"glaive_toolcall_{language}_demo.json").write_text(json.dumps(rows), encoding="utf-8")
    return root


def test_every_request_is_an_example(tmp_path: Path) -> None:
    folder(tmp_path, talk(TALK, "tip"), talk(TALK[:2]))
    hello, tip, thanks = read("glaive", tmp_path, "train")
    assert hello.metadata["irrelevant"] and thanks.target == "[]"
    assert tip.metadata["calls"] == [json.loads(CALL)]
    assert [m.role for m in thanks.messages] == ["user", "assistant", "user", "assistant", "user", "assistant", "user"]
    assert [t["function"]["name"] for t in tip.metadata["tools"]] == ["tip"]


def test_functions_that_are_declared_together_are_of_one_split(tmp_path: Path) -> None:
    rows = [talk(TALK, f"f{n}", f"g{n % 7}") for n in range(40)] + [talk(TALK, f"h{n}") for n in range(60)]
    splits = {s: read("glaive", folder(tmp_path, *rows), s) for s in ("train", "val", "test")}
    names = [{t["function"]["name"] for e in found for t in e.metadata["tools"]} for found in splits.values()]
    assert all(names) and sum(map(len, names)) == len(set.union(*names)) == 107


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([("robot", "x")], "'from' has no split 'robot'"),
        ([("human", "x"), ("function_call", "{")], "function_call"),
        ([("human", "x"), ("function_call", '{"name": "tip"}')], "the field 'arguments' is missing"),
    ],
)
def test_faults_are_named(turns: Any, message: str, tmp_path: Path) -> None:
    assert message in read_fault("glaive", folder(tmp_path, talk(turns, "tip")), "train")


def test_the_real_conversations(data_root: Path) -> None:
    root = data_root / "align" / "llamafactory_demo"
    rows = {split: read("glaive", root, split) for split in ("train", "val", "test")}
    assert sum(map(len, rows.values())) == 716 and all(len(found) > 30 for found in rows.values())
    assert sum(not e.metadata["irrelevant"] for found in rows.values() for e in found) == 427
    assert {e.metadata["language"] for e in read("glaive", root, "train", languages=["zh"])} == {"zh"}
