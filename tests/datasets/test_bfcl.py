"""BFCL: requests, their functions and all values of the right call, and each fault named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sepiola.calling.schemas import check_schema
from sepiola.datasets import read
from tests.tiny import read_fault

FUNCTION = {
    "name": "weather.get",
    "description": "Tells the weather.",
    "parameters": {
        "type": "dict",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "units": {"type": "dict"}},
        "required": ["city"],
    },
}


def folder(root: Path, answer: Any, **changes: Any) -> Path:
    record = {"id": "simple_0", "question": [[{"role": "system", "content": "简短。"},
              {"role": "user", "content": "北京天气怎么样?"}]], "function": [FUNCTION], **changes}  # fmt: skip
    (root / "possible_answer").mkdir()
    for name in ("simple_python", "irrelevance"):
        (root / f"BFCL_v4_{name}.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    answers = json.dumps({"id": "simple_0", "ground_truth": answer}) + "\n"
    (root / "possible_answer" / "BFCL_v4_simple_python.json").write_text(answers, encoding="utf-8")
    return root


def test_the_right_call_leaves_out_what_may_be_left_out(tmp_path: Path) -> None:
    units = {"heat": ["celsius", "c"], "wind": ["", "m/s"], "two": [["a", "b"]]}
    answer = [{"weather.get": {"city": ["", "北京", "Beijing"], "days": ["", 1], "units": [units]}}]
    folder(tmp_path, answer)
    (example,) = read("bfcl", tmp_path, "test", categories=["simple_python"])
    call = {"name": "weather.get", "arguments": {"city": "北京", "units": {"heat": "celsius", "two": ["a", "b"]}}}
    assert example.metadata["calls"] == [call] == json.loads(example.target)
    assert example.metadata["allowed"][0]["arguments"]["days"] == ["", 1]
    assert [m.role for m in example.messages] == ["system", "user"] and example.metadata["language"] == "zh"
    assert not example.metadata["irrelevant"]
    (tool,) = example.metadata["tools"]
    assert tool["type"] == "function" and tool["function"]["parameters"]["properties"]["units"] == {"type": "object"}
    (nothing,) = read("bfcl", tmp_path, "test", categories=["irrelevance"])
    assert nothing.metadata["irrelevant"] and nothing.target == "[]" and nothing.metadata["allowed"] == []


@pytest.mark.parametrize(
    ("answer", "changes", "message"),
    [
        ([{"other": {}}], {}, "simple_0: the answer calls 'other', which the request does not declare"),
        ([{"weather.get": {"city": "北京"}}], {}, "expected a list of values for each argument"),
        ([["weather.get"]], {}, "expected one function with its arguments"),
        ([], {"question": [[], []]}, "'question' is [[], []]; expected one turn"),
        ([], {"question": [[{"role": "robot", "content": ""}]]}, "the role is 'robot'"),
        ([], {"function": [{"name": "f"}]}, "the field 'description' is missing"),
        ([], {"id": "simple_1"}, "simple_1: has no answer in possible_answer/BFCL_v4_simple_python.json"),
    ],
)
def test_faults_are_named(answer: Any, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder(tmp_path, answer, **changes)
    assert message in read_fault("bfcl", tmp_path, "test", categories=["simple_python"])


def test_an_unknown_category_is_refused(tmp_path: Path) -> None:
    assert "no category 'multi_turn_base' that is read" in read_fault(
        "bfcl", tmp_path, "test", categories=["multi_turn_base"]
    )


def test_the_real_sets(data_root: Path) -> None:
    examples = read("bfcl", data_root / "act" / "bfcl", "test")
    counts = Counter(e.metadata["category"] for e in examples)
    assert (len(examples), counts["live_multiple"], counts["irrelevance"], counts["parallel"]) == (3475, 1053, 240, 200)
    assert len({e.id for e in examples}) == len(examples)
    assert sum(e.metadata["irrelevant"] for e in examples) == 1124
    schemas = [tool["function"]["parameters"] for e in examples for tool in e.metadata["tools"]]
    for schema in schemas:
        check_schema(schema)
    java = read("bfcl", data_root / "act" / "bfcl", "test", categories=["simple_java", "simple_javascript"])
    assert len(java) == 150
