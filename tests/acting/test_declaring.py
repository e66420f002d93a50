"""Declared functions stand in a line each, and are called by number, whatever their names are."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from sepiola.acting.declaring import NUMBERS, Distractors, declaration, masked, tool_of_name
from sepiola.calling.calls import lark, read, tokens_of, write
from sepiola.calling.constraints import ConstraintVocabulary
from sepiola.calling.functions import Call, declared
from sepiola.datasets import read as read_dataset
from sepiola.errors import CallError, SpecError
from sepiola.text.tokenizer import Tokenizer


def tool(name: str, description: str, properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required or []}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


WEATHER = tool(
    "get_weather",
    "Gets the weather.",
    {
        "city": {"type": "string", "description": "where"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "of the temperature"},
    },
    ["city"],
)
TRAIN = tool("book_train", "预订火车票。", {"seats": {"type": "integer"}}, ["seats"])


def test_a_line_a_function() -> None:
    assert declaration(declared([WEATHER, TRAIN])) == (
        "0. get_weather: Gets the weather. city = where; unit? (celsius|fahrenheit) = of the temperature\n"
        "1. book_train: 预订火车票. seats"
    )
    long = declaration(declared([tool("f", "word " * 100, {"a": {"type": "string", "description": "Wort " * 100}})]))
    assert len(long) < 300 and long.startswith("0. f: word") and not long.endswith("Wor")


def test_calls_go_by_number() -> None:
    functions = declared([TRAIN, WEATHER])
    call = Call("get_weather", {"city": "北京"})
    assert write([call], functions) == "<fn_1>北京<fn_sep><fn_none><fn_end>"
    assert read("<fn_1>北京<fn_sep><fn_none><fn_end>", functions) == [call]
    with pytest.raises(CallError, match="there are 2 functions"):
        read("<fn_2>x<fn_end>", functions)
    with pytest.raises(SpecError, match="is not here"):
        functions[0]()


def test_random_names_leave_the_call_as_it_is() -> None:
    functions = declared([WEATHER, TRAIN])
    rng = random.Random(0)
    hidden = [masked(function, rng) for function in functions]
    shown = declaration(hidden)
    for name in ("get_weather", "book_train", "city", "unit"):
        assert name not in shown
    assert "Gets the weather." in shown and "celsius|fahrenheit" in shown and "of the temperature" in shown
    assert "; seats" not in shown and " seats" in shown, "what has no description keeps its name"
    given = {parameter.name: "x" for parameter in hidden[0].parameters[:1]}
    renamed = write([Call(hidden[0].name, given)], hidden)
    assert renamed == write([Call("get_weather", {"city": "x"})], functions)
    (known,) = declared([tool_of_name("freeze_account")])
    assert known.description == "freeze account" and masked(known, rng).name != "freeze_account"
    (undescribed,) = declared([tool("only_a_name", "", {})])
    assert masked(undescribed, rng).name == "only_a_name"


def test_distractors_are_others_and_often_alike() -> None:
    tools = [tool_of_name(name) for name in ("get_weather", "get_news", *(f"open_{n}" for n in "abcdefgh"))]
    others = Distractors(tools)
    rng = random.Random(1)
    drawn = [[t["function"]["name"] for t in others.draw([tools[0]], 2, rng)] for _ in range(50)]
    assert all(len(set(names)) == 2 and "get_weather" not in names for names in drawn)
    assert all("get_news" in names for names in drawn), "the one that shares a word"
    assert len({name for names in drawn for name in names}) > 5
    assert len(others.draw([tools[0]], 30, rng)) == 9


def test_schemas_that_no_constraint_supports_are_refused() -> None:
    with pytest.raises(SpecError, match=r"f\(a\): #/not: a keyword"):
        declared([tool("f", "x", {"a": {"not": {"type": "string"}}})])


def test_texts_of_unknown_formats_and_values_of_any_kind_have_a_grammar() -> None:
    odd = tool("f", "x", {"a": {"type": "string", "format": "uri"}, "b": {}, "c": {"type": "object"}})
    (function,) = declared([odd])
    assert function.parameters[0].schema["maxLength"] and lark([function])
    call = Call("f", {"a": "http://x", "b": [1, {"y": None}], "c": {"k": "v"}})
    assert read(write([call], [function]), [function]) == [call]


def test_calls_of_published_requests_can_be_written(data_root: Path) -> None:
    """Whatever BFCL declares has a grammar, and its right calls are read back as they were."""
    examples = read_dataset("bfcl", data_root / "act" / "bfcl", "test", categories=["live_multiple"])
    tokenizer = Tokenizer.train(["a"] * 3, 400, extra=tokens_of(NUMBERS))
    vocabulary = ConstraintVocabulary(tokenizer, tokenizer.vocabulary, [1])
    whole = 0
    for example in random.Random(3).sample(examples, 60):
        functions = declared(example.metadata["tools"])
        assert vocabulary.compiled("lark", lark(functions)).shortest
        calls = [Call(call["name"], call["arguments"]) for call in example.metadata["calls"]]
        try:
            written = write(calls, functions)
        except CallError:  # the answer names an argument that is not declared
            continue
        whole += read(written, functions)[0].name == calls[0].name
    assert whole >= 57
