"""ToolAlpaca: operations as functions, references resolved, what is not known said."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from sepiola.datasets import read
from tests.tiny import read_fault

DOCUMENT: dict[str, Any] = {
    "paths": {
        "/pets/{id}": {
            "put": {
                "summary": "Changes a pet.",
                "parameters": [
                    {"$ref": "#/components/parameters/id"},
                    {"name": "limit", "schema": {"type": "integer", "format": "int32"}, "description": "how many"},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}},
            }
        }
    },
    "components": {
        "parameters": {"id": {"name": "id", "required": True, "schema": {"type": "string"}}},
        "schemas": {
            "Pet": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "mother": {"$ref": "#/components/schemas/Pet"}},
                "required": ["name"],
            }
        },
    },
}
CALL = {"Action": "putPet", "Action_Input": '{"id": "7", "name": "咪咪"}'}


def folder(root: Path, answers: Any, **changes: Any) -> Path:
    record = {
        "Name": "pets",
        "Documentation": json.dumps(DOCUMENT),
        "Instructions": ["Call pet 7 咪咪."] * len(answers),
        "Function_Projection": {"putPet": ["/pets/{id}", "put"]},
        "Golden_Answers": answers,
        **changes,
    }
    (root / "eval_real.json").write_text(json.dumps([record]), encoding="utf-8")
    return root


def test_operations_are_functions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unknown = {"Action": "putPet", "Action_Input": '{"id": ${id from searchPets}}'}
    folder(tmp_path, [[CALL], [unknown], [{"Action": "getDetails", "Action_Input": "{}"}]])
    with caplog.at_level(logging.INFO):
        known, follows = read("toolalpaca", tmp_path, "test", sets=["real"])
    assert "1 requests are left out" in caplog.text
    assert known.metadata["calls"] == [{"name": "putPet", "arguments": {"id": "7", "name": "咪咪"}}]
    assert follows.metadata["calls"] == [{"name": "putPet", "arguments": None}]
    (tool,) = known.metadata["tools"]
    schema = tool["function"]["parameters"]
    assert tool["function"]["description"] == "Changes a pet." and schema["required"] == ["id", "name"]
    assert schema["properties"]["limit"] == {"type": "integer", "description": "how many"}
    assert schema["properties"]["mother"]["properties"]["name"] == {"type": "string"}
    assert "$ref" not in json.dumps(schema)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Documentation": "{"}, "pets: Documentation"),
        ({"Documentation": "[]"}, "pets: Documentation: got []; expected an object"),
        ({"Documentation": '{"paths": {"/pets/{id}": {"put": 1}}}'}, "is no operation of its Documentation"),
        ({"Function_Projection": {"putPet": ["/pets", "put"]}}, "is no operation of its Documentation"),
        ({"Instructions": []}, "0 instructions, but 1 golden answers"),
        ({"Golden_Answers": [["x"]]}, "expected a call, got 'x'"),
    ],
)
def test_faults_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in read_fault("toolalpaca", folder(tmp_path, [[CALL]], **changes), "test", sets=["real"])


def test_the_real_sets(data_root: Path) -> None:
    examples = read("toolalpaca", data_root / "act" / "toolalpaca", "test")
    assert len(examples) == 199 and len({e.metadata["api"] for e in examples}) == 21
    assert sum(any(c["arguments"] is None for c in e.metadata["calls"]) for e in examples) == 28
