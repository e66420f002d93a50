"""Right and wrong calls by the leaderboard's rules; `tests/verdicts` compares them with its own package's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sepiola.acting.checking import fault_of
from sepiola.calling.functions import Call
from sepiola.data.example import Example
from sepiola.datasets import read

PROPERTIES = {
    "city": {"type": "string"},
    "days": {"type": "integer"},
    "heat": {"type": "number"},
    "rain": {"type": "boolean"},
    "any": {},
    "names": {"type": "array", "items": {"type": "string"}},
    "sizes": {"type": "array", "items": {"type": "number"}},
    "box": {"type": "object"},
    "boxes": {"type": "array", "items": {"type": "object"}},
}
TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": PROPERTIES}}},
    {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": PROPERTIES,
                                                                  "required": ["city"]}}},
]  # fmt: skip


def right(values: list[Any], given: Any, name: str) -> bool:
    return not fault_of([Call("f", {name: given})], [{"name": "f", "arguments": {name: values}}], TOOLS)


@pytest.mark.parametrize(
    ("name", "values", "given", "expected"),
    [
        ("city", ["New York, NY"], "new york ny", True),
        ("city", ["a-b_c.d/e*f^g"], "ABCDEFG", True),
        ("city", ["it's"], 'IT"S', True),
        ("city", ["北京"], "北京", True),
        ("city", ["北京,朝阳"], "北京，朝阳", False),  # full-width punctuation stays
        ("city", ["a\tb"], "ab", False),
        ("city", ["a"], None, False),
        ("days", [3], 3, True),
        ("days", [3], 3.0, False),
        ("days", [1], True, False),
        ("days", [3], "3", False),
        ("days", ["n"], "n", True),  # a variable
        ("days", ["n"], "N", False),
        ("heat", [3.0], 3, True),
        ("heat", [3.5], 3.5, True),
        ("heat", [3.5], "3.5", False),
        ("rain", [True], True, True),
        ("rain", [True], 1, False),
        ("rain", [True, ""], "", False),
        ("any", ["x"], "X", True),
        ("any", [2.5], 2.5, True),
        ("any", ["2"], 2, False),
        ("names", [["Ann", "Bo"]], ["ann", "bo "], True),
        ("names", [["Ann", "Bo"]], ["Bo", "Ann"], False),
        ("names", [["Ann"]], [1], False),
        ("names", [["Ann"], ["Bo"]], ["bo"], True),
        ("names", [["Ann"]], "Ann", False),
        ("sizes", [[1.0, 2.0]], [1.0, 2.0], True),
        ("sizes", [[1.0, 2.0]], [1, 2], False),  # only the outermost number may be whole
        ("box", [{"a": ["x"], "b": [1, ""]}], {"a": "X"}, True),
        ("box", [{"a": ["x"], "b": [1]}], {"a": "x"}, False),
        ("box", [{"a": ["x"]}], {"a": "x", "c": 1}, False),
        ("box", [{"a": ["x"]}, ""], {"a": "y"}, False),
        ("boxes", [[{"a": ["x"]}, {"a": ["y"]}]], [{"a": "x"}, {"a": "y"}], True),
        ("boxes", [[{"a": ["x"]}, {"a": ["y"]}]], [{"a": "y"}, {"a": "x"}], False),
        ("boxes", [[{"a": ["x"]}]], [], False),
    ],
)
def test_a_value_is_right_by_its_type(name: str, values: list[Any], given: Any, expected: bool) -> None:
    assert right(values, given, name) is expected


def test_arguments_are_missing_or_unknown() -> None:
    answer = [{"name": "g", "arguments": {"city": ["巴黎"], "days": [2, ""], "heat": [1.5]}}]
    for arguments, fault in (
        ({"city": "巴黎", "heat": 1.5}, ""),
        ({"city": "巴黎", "heat": 1.5, "days": 2}, ""),
        ({"city": "巴黎", "heat": 1.5, "days": 3}, "g: days: got 3, expected one of [2, '']"),
        ({"heat": 1.5}, "g: the argument 'city' is missing"),
        ({"city": "巴黎"}, "g: the argument 'heat' is missing"),
        ({"city": "巴黎", "heat": 1.5, "rain": True}, "g: the argument 'rain' is not expected"),
        ({"city": "巴黎", "heat": 1.5, "wind": 1}, "g: the argument 'wind' is not expected"),
    ):
        assert fault_of([Call("g", arguments)], answer, TOOLS) == fault


def test_calls_match_in_any_order_and_number() -> None:
    answer = [{"name": "f", "arguments": {"days": [n]}} for n in (1, 2)] + [{"name": "g", "arguments": {"city": ["x"]}}]
    one, two, city = Call("f", {"days": 1}), Call("f", {"days": 2}), Call("g", {"city": "x"})
    assert fault_of([city, two, one], answer, TOOLS) == ""
    assert fault_of([one, one, city], answer, TOOLS) == "f: days: got 1, expected one of [2]"
    assert fault_of([one, two], answer, TOOLS) == "expected 3 calls, got 2"
    assert fault_of([one, two, Call("h", {})], answer, TOOLS) == "expected a call of g, got h"


def test_what_could_not_be_read_is_never_right() -> None:
    assert fault_of([], [], TOOLS) == ""
    assert fault_of(None, [], TOOLS) == "no call could be read"
    assert fault_of([Call("f", {})], [], TOOLS) == "expected 0 calls, got 1"


def test_the_right_calls_of_the_leaderboard_are_right(data_root: Path) -> None:
    wrong = {e.id for e in read("bfcl", data_root / "act" / "bfcl", "test") if _fault(e, e.metadata["calls"])}
    # Their answers leave out what is required, or have an argument that is not declared: no call can be right.
    assert wrong == {"live_simple_106-63-0", "live_simple_112-68-0", "live_multiple_862-181-3",
                     "live_multiple_964-207-0"}  # fmt: skip


def _fault(example: Example, calls: list[dict[str, Any]]) -> str:
    made = [Call(call["name"], call["arguments"]) for call in calls]
    return fault_of(made, example.metadata["allowed"], example.metadata["tools"])
