"""Requests for any functions: calls that the functions take, phrasings of the user, splits apart, errors by name."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from sepiola.acting.functions import functions_of
from sepiola.acting.synthesis import KINDS, synthesize
from sepiola.calling.functions import Function
from sepiola.data.example import Example
from sepiola.errors import DataError, SpecError


class Item(BaseModel):
    name: str
    quantity: Annotated[int, Field(ge=1, le=20)] = 1


def set_alarm(time: datetime.time, label: Annotated[str, Field(max_length=40)] = "", repeat: bool = False) -> None:
    """Sets an alarm.

    Args:
        time: When it rings.

    Examples:
        wake me [up|] at {time}
        - [定|设]一个{time}的闹钟
        = I have to be up at {time}
    """


def book_flight(
    origin: str,
    destination: str,
    day: datetime.date,
    seats: Annotated[int, Field(ge=1, le=9)] = 1,
    cabin: Literal["economy", "business", "first_class"] | None = None,
) -> None:
    """Books a flight from one city to another."""


def water_plants(
    plants: Annotated[list[Item], Field(min_length=1, max_length=3)],
    liters: Annotated[float, Field(ge=0.5, le=5)],
    at: datetime.datetime | None = None,
) -> None:
    """给植物浇水。"""


def flashlight() -> None:
    """Turns on the flashlight."""


CALLS = (set_alarm, book_flight, water_plants, flashlight)


def described(functions: list[Function]) -> list[dict[str, Any]]:
    return [{**each.tool["function"], "examples": each.examples} for each in functions]


@pytest.fixture(scope="module")
def functions() -> list[Function]:
    return functions_of(CALLS)


@pytest.fixture(scope="module")
def made(functions: list[Function]) -> dict[str, list[Example]]:
    return {split: synthesize(described(functions), split, 800) for split in ("train", "val", "test")}


def test_phrasings_are_read_off_the_docstring(functions: list[Function]) -> None:
    assert described(functions)[0]["examples"] == (
        "wake me [up|] at {time}",
        "[定|设]一个{time}的闹钟",
        "= I have to be up at {time}",
    )
    assert functions[-1].examples == ()


def test_every_call_is_one_that_its_function_takes(functions: list[Function], made: dict[str, list[Example]]) -> None:
    named = {each.name: each for each in functions}
    given: Counter[tuple[str, str]] = Counter()
    for examples in made.values():
        for example in examples:
            for call in example.metadata["calls"]:
                named[call["name"]].check(call["arguments"])
                given.update((call["name"], argument) for argument in call["arguments"])
    assert set(given) == {(each.name, parameter.name) for each in functions for parameter in each.parameters}


def test_texts_say_what_is_called(made: dict[str, list[Example]]) -> None:
    for example in made["train"]:
        for call in example.metadata["calls"]:
            for name in ("origin", "destination", "label"):
                assert call["arguments"].get(name, "") in example.prompt


def test_splits_share_no_template_and_no_value(made: dict[str, list[Example]]) -> None:
    for what in ("templates", "values"):
        used = {split: {v for e in examples for v in e.metadata[what]} for split, examples in made.items()}
        assert all(len(found) > 100 for found in used.values())
        assert not used["train"] & used["val"] and not used["train"] & used["test"] and not used["val"] & used["test"]


def test_some_functions_may_take_all_the_turns(functions: list[Function]) -> None:
    asked = synthesize(described(functions), "train", 400, kinds=["text", "several", "irrelevant"], about=["set_alarm"])
    calls = [[call["name"] for call in e.metadata["calls"]] for e in asked if e.metadata["calls"]]
    assert len(calls) > 250 and all("set_alarm" in names for names in calls)
    first = Counter(names[0] == "set_alarm" for names in calls if len(names) > 1)
    assert 0.3 < first[False] / first.total() < 0.7 and {name for names in calls for name in names} > {"set_alarm"}


def test_phrasings_of_the_user_are_used(made: dict[str, list[Example]]) -> None:
    alarms = [e for e in made["train"] if e.metadata["function"] == "set_alarm" and e.metadata["kind"] == "text"]
    own = [e for e in alarms if "wake me" in e.prompt or "to be up" in e.prompt or "一个" in e.prompt]
    assert 0.4 < len(own) / len(alarms) < 0.9


def test_a_phrasing_may_fix_a_value_that_it_does_not_spell() -> None:
    light: dict[str, Any] = {
        "name": "light",
        "description": "Switches the light.",
        "parameters": {
            "type": "object",
            "properties": {
                "on": {"type": "boolean"},
                "room": {"enum": ["hall", "attic"]},
                "level": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            },
            "required": ["on"],
        },
        "examples": [
            "[now|please|] light up the {room}{on=true}",
            "[now|please|] make it {on=false} dark[ upstairs {room=attic}|]",
            "[马上|请|]开灯{on=true}[，最亮{level=100}|]",
        ],
    }
    asked = synthesize([light], "train", 400, kinds=["text"])
    said = {e.prompt.rpartition("\n")[2]: e.metadata["calls"][0]["arguments"] for e in asked}
    assert not any("{" in prompt or "  " in prompt for prompt in said)
    lit = [arguments for prompt, arguments in said.items() if "light up the" in prompt.lower()]
    dark = [a for p, a in said.items() if "make it dark" in p.lower()]
    above = [a for p, a in said.items() if "dark upstairs" in p.lower()]
    bright = [a for p, a in said.items() if "最亮" in p]
    assert lit and all(a["on"] is True and a["room"] in ("hall", "attic") for a in lit)
    assert all(a["on"] is False for a in dark) and {"on": False} in dark
    assert above and all(a == {"on": False, "room": "attic"} for a in above)
    assert bright and all(a == {"on": True, "level": 100} for a in bright)
    for wrong, message in (
        ("go {on=maybe}", r"light: \{on=maybe\} in a phrasing is no value of the argument"),
        ("go {on=true} to the {room=cellar}", r"\{room=cellar\} in a phrasing is no value"),
        ("go {on=true} and {on}", r"has the slot \{on\}, twice"),
        ("go {off=true}", r"has the slot \{off\}, twice or for no argument"),
    ):
        with pytest.raises(SpecError, match=message):
            synthesize([{**light, "examples": [wrong]}], "train", 2)


def test_functions_languages_and_kinds_take_turns(made: dict[str, list[Example]]) -> None:
    counts = Counter((e.metadata["function"], e.metadata["language"], e.metadata["kind"]) for e in made["train"])
    for call in CALLS:
        for language in ("en", "zh"):
            assert all(counts[call.__name__, language, kind] > 5 for kind in KINDS if kind != "irrelevant")
    for example in made["val"]:
        kind, calls = example.metadata["kind"], example.metadata["calls"]
        assert len(calls) in {"text": (1,), "several": (2, 3)}.get(kind, (0,)), kind
        assert example.metadata["irrelevant"] == (not calls)


def test_what_the_functions_serve_is_not_called_irrelevant(made: dict[str, list[Example]]) -> None:
    for example in made["train"]:
        if example.metadata["kind"] == "irrelevant":
            text = example.prompt.rpartition("\n")[2].lower()
            assert not any(word in text for word in ("alarm", "timer", "flashlight", "flight", "闹钟", "手电", "机票"))


def test_a_question_that_asks_for_a_function_is_no_near_miss() -> None:
    """Where a given sentence begins with it; whatever stands before."""

    def find_way(place: str) -> None:
        """Finds the way.

        Examples:
            get me to {place}
            = how do I get to {place}?
        """

    def asked(*examples: str) -> set[str]:
        function = {**functions_of([find_way])[0].tool["function"], "examples": examples}
        some = synthesize([function], "train", 400, kinds=["near miss"], languages=["en"])
        return {" ".join(said.split()[:4]) for e in some if "how do i" in (said := e.prompt.lower().split("\n")[-1])}

    assert {"how do i get", "and how do i"} <= asked("get me to {place}")
    assert not asked("get me to {place}", "= how do I get to {place}?")


def test_the_same_arguments_make_the_same_requests(functions: list[Function]) -> None:
    first, again = (synthesize(described(functions), "test", 30, seed=4) for _ in range(2))
    assert first == again and first[:10] == synthesize(described(functions), "test", 10, seed=4)
    assert first != synthesize(described(functions), "test", 30, seed=5)


def test_faults_name_the_function() -> None:
    alarm: dict[str, Any] = {
        "name": "ring",
        "description": "Rings.",
        "parameters": {
            "type": "object",
            "properties": {"tone": {"type": "string", "pattern": "^[A-G]$"}},
            "required": ["tone"],
        },
    }
    for functions, message in (
        ([alarm], "ring: tone: values under 'pattern' cannot be made up; list some as the schema's 'examples'"),
        ([{**alarm, "examples": ["ring"]}], "ring: the phrasing 'ring' lacks {tone}, which a call needs"),
        ([{**alarm, "examples": ["ring {tone} at {hour}"]}], "ring: the phrasing .* has the slot {hour}"),
        ([alarm, alarm], "each with a name of its own; got ring, ring"),
        ([], "expected one or more functions"),
    ):
        with pytest.raises(SpecError, match=message):
            synthesize(functions, "train", 4)
    with pytest.raises(SpecError, match="kinds: expected one or more of text, several"):
        synthesize([{"name": "ring"}], "train", 4, kinds=["chat"])
    with pytest.raises(DataError, match="split 'dev'"):
        synthesize([{"name": "ring"}], "dev", 4)
