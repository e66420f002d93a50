"""Declared types as JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from sepiola.calling.schemas import check_schema
from sepiola.datasets.tool_calls import schema_of, tool_of
from sepiola.errors import DataError


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"type": "dict", "properties": {"a": {"type": "float", "optional": True}}},
         {"type": "object", "properties": {"a": {"type": "number"}}}),
        ({"type": "tuple", "items": {"type": "any"}}, {"type": "array", "items": {}}),
        ({"type": "ArrayList", "items": {"type": "String"}}, {"type": "array", "items": {"type": "string"}}),
        ({"type": "HashMap"}, {"type": "object"}),
        ({"type": "Boolean"}, {"type": "boolean"}),
        ({"type": "long", "format": "int64"}, {"type": "integer"}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "array", "enum": ["a", "b"], "items": {"type": "string"}},
         {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}),
        ({"type": "array", "enum": [["a"], ["b"]]}, {"type": "array", "enum": [["a"], ["b"]]}),
        ({"type": "", "description": "一个词"}, {"description": "一个词"}),
        ({"type": "object", "properties": {"optional": {"type": "bool"}}},
         {"type": "object", "properties": {"optional": {"type": "boolean"}}}),
    ],
)  # fmt: skip
def test_types_of_other_languages_become_those_of_json_schema(raw: dict[str, Any], expected: dict[str, Any]) -> None:
    assert schema_of(raw, "here") == expected
    check_schema(expected)


def test_what_is_no_type_is_named() -> None:
    with pytest.raises(DataError, match=r"here: f\.a: expected a type as an object, got 'string'"):
        tool_of("f", "", {"type": "dict", "properties": {"a": "string"}}, "here")
    assert tool_of("f", "Says.", None, "here")["function"]["parameters"] == {"type": "object", "properties": {}}
