"""Calls go to text and back unchanged, in both languages; what is no call is refused, and nothing is evaluated."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

import sepiola
from sepiola.acting.functions import functions_of
from sepiola.acting.sets import taught
from sepiola.api import Model
from sepiola.calling.calls import END, NONE, json_form, read, read_json, tokens_of, write
from sepiola.calling.functions import Call
from sepiola.errors import CallError
from sepiola.generation.sampling import Sampling
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import llama


class Item(BaseModel):
    name: Annotated[str, Field(max_length=12)]
    count: Annotated[int, Field(ge=1, le=9)]


def send(to: Annotated[str, Field(max_length=20)], text: str, at: datetime.time | None = None) -> None:
    """Sends a text."""


def buy(items: Annotated[list[Item], Field(min_length=1, max_length=2)], on: datetime.date, loud: bool = False) -> None:
    """Buys things."""


def feed(pet: Literal["猫", "dog"], share: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None:
    """Feeds a pet."""


def stop() -> None:
    """Stops."""


TODAY = datetime.date(2024, 5, 1)
FUNCTIONS = functions_of([send, buy, feed, stop])
CALLS = [
    Call("send", {"to": "王芳", "text": "it's 'late', \"really\" <b>\\n"}),
    Call("send", {"to": "", "text": "🦑", "at": "09:30"}),
    Call("buy", {"items": [{"name": "牛奶", "count": 2}, {"name": 'a"b', "count": 1}], "on": "2024-02-29"}),
    Call("buy", {"items": [{"name": "x", "count": 9}], "on": "1999-12-31", "loud": True}),
    Call("feed", {"pet": "猫", "share": 0.25}),
    Call("feed", {"pet": "dog"}),
    Call("stop", {}),
]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_call_comes_back_as_it_was(call: Call) -> None:
    assert read(write([call], FUNCTIONS), FUNCTIONS) == [call]
    assert read_json(json.dumps([call.to_json()]), FUNCTIONS) == [call]


def test_several_calls_and_none() -> None:
    assert read(write(CALLS, FUNCTIONS), FUNCTIONS) == CALLS
    assert write([], FUNCTIONS) == NONE + END and read(NONE + END, FUNCTIONS) == []
    assert write(CALLS[:1], FUNCTIONS).startswith("<fn_0>王芳<fn_sep> it's")
    assert write([CALLS[5]], FUNCTIONS) == "<fn_2>dog<fn_sep><fn_none><fn_end>"


def test_an_argument_at_its_default_is_left_out() -> None:
    assert write([Call("feed", {"pet": "dog", "share": 0.5})], FUNCTIONS) == "<fn_2>dog<fn_sep><fn_none><fn_end>"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<fn_end>",
        "<fn_0>",
        "<fn_none>",
        "<fn_0>a<fn_sep>b<fn_end>",
        "<fn_0>a<fn_sep>b<fn_sep><fn_none>",
        "say <fn_3><fn_end>",
        "<fn_3><fn_end> and more",
        "<fn_3>x<fn_end>",
        "<fn_9><fn_end>",
        "<fn_sep><fn_end>",
        "<fn_3><fn_end><fn_end>",
        "<fn_2>cat<fn_sep><fn_none><fn_end>",
        "<fn_2>dog<fn_sep>2.0<fn_end>",
        "<fn_2>dog<fn_sep>__import__('os').system('x')<fn_end>",
        "<fn_2><fn_none><fn_sep><fn_none><fn_end>",
        "<fn_1>[]<fn_sep>2024-01-01<fn_sep><fn_none><fn_end>",
        "<fn_1>[{'name': 'x', 'count': 1}]<fn_sep>2024-01-01<fn_sep><fn_none><fn_end>",
        "<fn_1>" + "[" * 100_000 + "<fn_sep>2024-01-01<fn_sep><fn_none><fn_end>",
        "<fn_0>a<fn_none><fn_sep>b<fn_sep><fn_none><fn_end>",
        "<fn_٣>a<fn_sep>b<fn_sep><fn_none><fn_end>",
        f"<fn_{'9' * 5000}>a<fn_end>",
        "<fn_0>a <fn_٣><fn_sep>b<fn_sep><fn_none><fn_end>",
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_call_is_refused(text: str) -> None:
    with pytest.raises(CallError):
        read(text, FUNCTIONS)


@pytest.mark.parametrize(
    "said",
    ["", "send", "{}", '[{"name": "send"}]', '[{"name": "x", "arguments": {}}]', "[" * 100_000, "[1]", '{"name": []}'],
)
def test_what_is_no_json_call_is_refused(said: str) -> None:
    with pytest.raises(CallError):
        read_json(said, FUNCTIONS)


def test_texts_that_no_call_can_say_are_refused() -> None:
    for text in ("a<fn_sep>b", "line\nline", "\x00"):
        with pytest.raises(CallError, match="no call can say"):
            write([Call("send", {"to": "a", "text": text})], FUNCTIONS)


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    """Random weights under a tokenizer with functional tokens, and under one without."""
    made = {}
    for name, extra in (("functional", tokens_of(len(FUNCTIONS))), ("declared", [])):
        tokenizer = Tokenizer.train(["send buy feed 牛奶 2024-01-01 name count"] * 3, 290, extra=extra)
        built = sepiola.build({"name": name, "language": {**llama(), "vocabulary": tokenizer.vocabulary}}, seed=2)
        made[name] = Model(built.network, built.spec, tokenizer)
    functional = made["functional"]
    functional.processor = dataclasses.replace(functional.processor, functions=taught(FUNCTIONS))
    return made


@pytest.mark.parametrize("budget", [8, 16, 32, 128])
def test_random_weights_write_calls_alone(models: dict[str, Model], budget: int) -> None:
    functions: Any = [send, buy, feed, stop]
    names = set()
    for seed in range(40):
        sampling = Sampling(temperature=1.0, seed=seed)
        said = models["functional"].generate("x", constraint=functions, max_tokens=budget, sampling=sampling)
        names |= {call.name for call in read(str(said), FUNCTIONS, TODAY)}
        said = models["declared"].generate("x", constraint=functions, max_tokens=budget, sampling=sampling)
        read_json(str(said), FUNCTIONS)
    assert len(names) >= (4 if budget == 128 else 2)


def test_a_token_never_stands_for_another_function(models: dict[str, Model]) -> None:
    """Functions that a model was not taught, or not all of them, are called as JSON, though tokens are there."""

    def other(word: Annotated[str, Field(max_length=9)]) -> None:
        """Another."""

    for functions in ([other], [send, buy], [send, buy, feed, other]):
        said = models["functional"].generate("x", constraint=functions, max_tokens=200)
        read_json(str(said), functions_of(functions))
    said = models["functional"].generate("x", constraint=[stop, feed, buy, send], max_tokens=200)
    read(str(said), FUNCTIONS, TODAY)


def test_functions_that_are_not_allowed_are_never_called(models: dict[str, Model]) -> None:
    from sepiola.calling.calls import lark

    model = models["functional"]
    grammar = model.vocabulary.compiled("lark", lark(FUNCTIONS, ["stop", "feed"]))
    prompt = [model._prompts.prompt("send")]
    ((*rows,),) = model.engine.generate(
        prompt, max_tokens=24, grammar=grammar, samples=40, sampling=Sampling(temperature=1.0)
    )
    names = {call.name for row in rows for call in read(grammar.text(row), FUNCTIONS, TODAY)}
    assert names <= {"stop", "feed"} and names
    denying = model.vocabulary.compiled("lark", lark(FUNCTIONS, ["stop"], denied=["send", "feed", "buy"]))
    ((*rows,),) = model.engine.generate(
        prompt, max_tokens=24, grammar=denying, samples=40, sampling=Sampling(temperature=1.0)
    )
    texts = [denying.text(row) for row in rows]
    refusals = [text for text in texts if not re.fullmatch(f"(<fn_3>)+{END}|{NONE}{END}", text)]
    for text in refusals:  # a name, at the end of the reply
        named = re.fullmatch(f"(?:<fn_3>)*<fn_([012])>{END}", text)
        assert named is not None
        with pytest.raises(
            CallError, match=f"{FUNCTIONS[int(named[1])].name} is not allowed; nothing was called in its"
        ):
            read(text, FUNCTIONS, TODAY, ["stop"])
    assert refusals
    nothing = model.vocabulary.compiled("lark", lark(FUNCTIONS, []))
    assert nothing.text(model.engine.generate(prompt, max_tokens=9, grammar=nothing)[0][0]) == NONE + END
    assert json_form(FUNCTIONS, []) == {"const": []}
