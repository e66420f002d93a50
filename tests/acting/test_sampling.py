"""Values by schema: within bounds, said as they are, of their split, or refused by name."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from sepiola.acting.sampling import sample
from sepiola.errors import SpecError
from sepiola.tidepool.phone import lexicon_en, lexicon_zh
from sepiola.tidepool.phone.fills import Context
from sepiola.tidepool.phone.grammar import share_of


def samples(name: str, schema: dict[str, Any], language: str = "en", split: str = "train") -> list[tuple[str, Any]]:
    context = Context(random.Random(0), language, split)
    return [sample(name, schema, context) for _ in range(200)]


@pytest.mark.parametrize(
    ("schema", "least", "most"),
    [
        ({"type": "integer", "minimum": 3, "maximum": 9}, 3, 9),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 4}, 1, 3),
        ({"type": "integer", "minimum": 10, "maximum": 40, "multipleOf": 5}, 10, 40),
        ({"type": "number", "minimum": -2, "maximum": 2}, -2, 2),
        ({"type": "integer", "minimum": -(10**15), "maximum": 10**15}, 1, 1001),
        ({"type": "integer", "maximum": -5}, -1005, -5),
    ],
)
def test_numbers_keep_their_range(schema: dict[str, Any], least: float, most: float) -> None:
    values = [value for _, value in samples("n", schema)]
    assert all(least <= value <= most and value % schema.get("multipleOf", 0.5) == 0 for value in values)
    assert len(set(values)) > 2
    if schema["type"] == "integer":
        assert all(isinstance(value, int) for value in values)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_are_what_their_name_speaks_of(language: str) -> None:
    for name, pattern in (("email", "@"), ("ticket_id", "[0-9]")):
        assert all(re.search(pattern, value) for _, value in samples(name, {"type": "string"}, language))
    for name in ("title", "restaurant_name", "note", "whatever"):
        found = samples(name, {"type": "string", "maxLength": 12, "minLength": 2}, language)
        assert all(2 <= len(value) <= 12 and value in said for said, value in found)
    values = {value for _, value in samples("city", {"type": "string"}, language, "test")}
    assert len(values) > 50 and all(share_of("value", value) == "test" for value in values)


@pytest.mark.parametrize(("language", "lost_at"), [("en", "the lobby"), ("zh", "前台")])
def test_nobody_goes_to_where_a_thing_was_lost(language: str, lost_at: str) -> None:
    """The weather on a bus, the way to a locker: no request that one would make."""
    spots = {"en": lexicon_en, "zh": lexicon_zh}[language].WORDS["spot"]
    assert lost_at in spots
    for split in ("train", "test"):
        for name in ("location", "destination", "city"):
            assert not {value for _, value in samples(name, {"type": "string"}, language, split)} & set(spots)
    assert {value for _, value in samples("place", {"type": "string"}, language, "train")} & set(spots)


def test_values_that_a_schema_lists_are_taken() -> None:
    assert {v for _, v in samples("c", {"enum": ["a_b", None, 3]})} == {"a_b", 3}
    assert {s for s, v in samples("c", {"enum": ["a_b"]})} == {"a b", "a_b"}
    assert {s for s, _ in samples("c", {"enum": ["cat"], "description": "cat (猫, kitty)"})} == {"cat", "kitty"}
    assert {v for _, v in samples("c", {"const": "x"})} == {"x"}
    assert {v for _, v in samples("c", {"type": "string", "pattern": "^x", "examples": ["x1", "x2"]})} == {"x1", "x2"}
    assert {type(v) for _, v in samples("c", {"anyOf": [{"type": "boolean"}, {"type": "null"}]})} == {bool}


def test_dates_times_lists_and_objects() -> None:
    day, moment = (
        samples("d", {"type": "string", "format": "date"})[0][1],
        samples("t", {"type": "string", "format": "time"}),
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day) and re.fullmatch(r"\d\d:\d\d", moment[0][1])
    when = samples("w", {"type": "string", "format": "date-time"}, "zh")[0][1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d", when)
    item = {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer", "maximum": 5}}}
    lists = samples("products", {"type": "array", "items": {**item, "required": ["name"]}, "maxItems": 4})
    assert {len(value) for _, value in lists} == {1, 2, 3}
    assert all(entry["name"] in said for said, value in lists for entry in value)
    assert all(1 <= entry.get("n", 1) <= 5 for _, value in lists for entry in value)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#/x"}, r"'\$ref' cannot be made up; list some"),
        ({"type": "string", "pattern": "^[A-Z]{3}$"}, "'pattern' cannot be made up"),
        ({"type": "string", "format": "ipv4"}, "format 'ipv4' cannot be made up"),
        ({"type": "string", "minLength": 150}, "no text of 150 to 200 characters"),
        ({"type": "array"}, "give 'items'"),
        ({"type": "object"}, "without 'properties'"),
        ({}, "expected a schema with a type"),
    ],
)
def test_what_cannot_be_made_up_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^size: .*{message}"):
        sample("size", schema, Context(random.Random(0), "en", "train"))
