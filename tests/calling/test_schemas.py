"""Schemas that a constraint understands, and what it says of the others."""

from __future__ import annotations

import pytest

from sepiola.calling.schemas import check_schema
from sepiola.errors import SepiolaError, SpecError
from tests.tiny import byte_model, llama


def test_schemas_of_every_kind_pass() -> None:
    check_schema(
        {
            "$defs": {"城市": {"type": "string", "maxLength": 9}},
            "type": "object",
            "properties": {
                "city": {"$ref": "#/$defs/城市"},
                "days": {"type": ["integer", "null"], "minimum": 1},
                "tags": {"type": "array", "items": {"enum": ["猫", "cat"]}, "maxItems": 3},
                "when": {"anyOf": [{"type": "string", "format": "date"}, {"const": "today"}]},
            },
            "required": ["city"],
            "additionalProperties": False,
        }
    )
    check_schema(True)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a": {"not": {"type": "string"}}}}, "#/properties/a/not"),
        ({"type": "dict"}, "#/type"),
        ({"anyOf": [{"type": "string", "format": "iri"}]}, "#/anyOf/0/format"),
        ({"items": {"$ref": "http://example.org/schema"}}, "#/items/$ref"),
        ({"type": "string", "maxLength": -1}, "#/maxLength"),
        ({"type": "string", "maxLength": True}, "#/maxLength"),
        ({"type": "integer", "minimum": "1"}, "#/minimum"),
        ({"enum": []}, "#/enum"),
        ({"anyOf": {}}, "#/anyOf"),
        ({"properties": []}, "#/properties"),
        ({"items": 3}, "#/items"),
        ({"items": {"pattern": {}}}, "#/items/pattern: got {}, expected a regular expression"),
        ({"items": {"enum": ["\ud800"]}}, "#/items: holds half a character pair"),
        ({"properties": {"\ud800": {}}}, "#: holds half a character pair"),
        ({"const": {1, 2}}, "#: is no JSON"),
        (["string"], "#"),
    ],
)
def test_what_is_not_supported_is_refused_with_its_path(schema: object, path: str) -> None:
    with pytest.raises(SpecError, match=path.replace("$", r"\$")):
        check_schema(schema)


def test_a_schema_deeper_than_any_is_refused() -> None:
    schema: object = {"type": "string"}
    for _ in range(5000):
        schema = {"items": schema}
    with pytest.raises(SpecError, match="nested deeper than 64"):
        check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"properties": {"a": {"type": "string", "pattern": "(?=a)b"}}}, "#/properties/a: regex parse error"),
        (
            {"anyOf": [{"const": 1}, {"items": {"oneOf": [{"type": "string"}, {"maxLength": 3}]}}]},
            "#/anyOf/1/items: oneOf",
        ),
        (
            {
                "type": "object",
                "properties": {"天": {"type": "integer", "minimum": 9, "maximum": 3}},
                "required": ["天"],
            },
            "#/properties/天: Unsatisfiable",
        ),
        ({"$defs": {"x": {"enum": [True], "type": "integer"}}, "$ref": "#/$defs/x"}, "#/$defs/x: Unsatisfiable"),
        ({"$ref": "#/$defs/none"}, "#: Pointer"),
    ],
)
def test_what_does_not_compile_is_refused_with_its_path(schema: dict[str, object], message: str) -> None:
    with pytest.raises(SepiolaError, match=message.replace("$", r"\$")):
        byte_model(llama()).grammar(schema)
