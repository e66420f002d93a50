"""Signatures become functions, or are refused with the reason; arguments are checked by their types."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field

import sepiola
from sepiola.acting.functions import function, functions_of
from sepiola.calling.functions import Function, signature_of
from sepiola.errors import CallError, SpecError


class Item(BaseModel):
    name: Annotated[str, Field(max_length=20)]
    count: Annotated[int, Field(ge=1, le=9)] = 1


@dataclass
class Place:
    city: str
    country: Literal["中国", "France"] = "France"


@function
def order(
    phone: object,
    items: Annotated[list[Item], Field(min_length=1, max_length=3)],
    day: datetime.date,
    to: Place | None = None,
    gift: bool = False,
    limit: Annotated[float, Field(gt=0, le=500)] = 100.0,
    note: Annotated[Optional[str], Field(description="A word to the courier.")] = None,  # noqa: UP045
) -> dict[str, Any]:
    """Orders things to a place.

    More of it.

    Args:
        items: What is ordered,
            and how many of each.
        day (date): The day of delivery.
    """
    return {"items": len(items), "day": str(day), "to": to}


GOOD: dict[str, Any] = {"items": [{"name": "牛奶", "count": 2}], "day": "2024-02-29"}


def test_a_signature_is_read_whole() -> None:
    assert isinstance(order, Function) and sepiola.function is function
    assert (order.name, order.description) == ("order", "Orders things to a place.")
    assert [p.name for p in order.parameters] == ["items", "day", "to", "gift", "limit", "note"]
    assert [p.required for p in order.parameters] == [True, True, False, False, False, False]
    assert order.takes_state and order.parameter("items").description == "What is ordered, and how many of each."
    assert order.parameter("note").description == "A word to the courier."
    assert order.parameter("limit").default == 100.0
    assert order.schema["required"] == ["items", "day"]
    assert order.tool["function"]["parameters"] == order.schema
    assert "$ref" not in str(order.schema)
    assert order(None, [Item(name="x")], datetime.date(2024, 1, 1))["items"] == 1


def test_every_string_list_and_number_ends() -> None:
    item = order.schema["properties"]["items"]
    assert item["maxItems"] == 3 and item["items"]["properties"]["name"]["maxLength"] == 20
    assert order.schema["properties"]["note"]["anyOf"][0]["maxLength"] == 200


def test_values_come_as_their_types() -> None:
    values = order.check({**GOOD, "to": {"city": "上海", "country": "中国"}})
    assert values["items"] == [Item(name="牛奶", count=2)]
    assert values["day"] == datetime.date(2024, 2, 29)
    assert values["to"] == Place("上海", "中国")
    assert "gift" not in values


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"items": []}, "items: got"),
        ({"items": [{"name": "x", "count": 0}]}, r"0\.count"),
        ({"items": "milk"}, "items: got 'milk'"),
        ({"day": "2023-02-29"}, "day: got '2023-02-29'"),
        ({"gift": "true"}, "gift: got 'true'"),
        ({"gift": 1}, "gift: got 1"),
        ({"limit": "5"}, "limit: got '5'"),
        ({"limit": 0}, "limit: got 0"),
        ({"limit": float("nan")}, "limit: got nan"),
        ({"note": 3}, "note: got 3"),
        ({"dya": 1}, "no argument 'dya'"),
        ({"phone": 1}, "no argument 'phone'"),
    ],
)
def test_other_values_are_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(CallError, match=said):
        order.check({**GOOD, **change})


def test_numbers_that_json_does_not_have_are_refused() -> None:
    def weigh(grams: list[float]) -> None:
        """Weighs."""

    for number in (float("inf"), float("-inf"), float("nan")):
        with pytest.raises(CallError, match="grams: got"):
            function(weigh).check({"grams": [1.5, number]})


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(CallError, match="'day' is missing"):
        order.check({"items": GOOD["items"]})


def test_a_signature_changes_with_what_may_be_called_alone() -> None:
    def send(to: str) -> None:
        """Sends it."""

    first = function(send)
    send.__doc__ = "Another word."
    assert function(send).signature == first.signature == signature_of("send", first.schema)

    def renamed(who: str) -> None:
        """Sends it."""

    renamed.__name__ = "send"
    assert function(renamed).signature != first.signature


def _without_annotation(a) -> None:  # type: ignore[no-untyped-def]
    """A."""


def _without_docstring(a: str) -> None: ...


def _with_args(*a: str) -> None:
    """A."""


def _with_keywords(**a: str) -> None:
    """A."""


def _positional(a: str, /) -> None:
    """A."""


def _of_anything(a: Any) -> None:
    """A."""


def _of_a_dict(a: dict[str, int]) -> None:
    """A."""


def _of_a_list(a: list) -> None:  # type: ignore[type-arg]
    """A."""


def _of_bytes(a: Callable[[], int]) -> None:
    """A."""


def _wrong_default(a: Annotated[int, Field(ge=3)] = 1) -> None:
    """A."""


def _two_nothings(a: int | None = 3) -> None:
    """A."""


def _misdescribed(a: int) -> None:
    """A.

    Args:
        b: It.
    """


class Tree(BaseModel):
    inner: list[Tree]


def _recursive(a: Tree) -> None:
    """A."""


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (_without_annotation, r"\(a\): no annotation"),
        (_without_docstring, "no docstring"),
        (_with_args, "names every argument"),
        (_with_keywords, "names every argument"),
        (_positional, "names every argument"),
        (_of_anything, "may be anything"),
        (_of_a_dict, "dict of unknown keys"),
        (_of_a_list, "may be anything|list of anything"),
        (_of_bytes, "no JSON Schema"),
        (_wrong_default, "the default 1 is not of its own type"),
        (_two_nothings, "may be None and has another default"),
        (_misdescribed, "describes 'b', which is no parameter"),
        (_recursive, "holds itself"),
        (lambda a: a, "needs a name"),
        (int, "its signature cannot be read"),
    ],
)
def test_signatures_that_no_call_could_state_are_refused(call: Callable[..., Any], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        function(call)


async def later(word: str) -> str:
    """Later."""
    return word


def one_by_one(word: str) -> Iterator[str]:
    """One by one."""
    yield word


@pytest.mark.parametrize("call", [later, one_by_one])
def test_a_function_that_runs_nothing_when_it_is_called_is_refused(call: Callable[..., Any]) -> None:
    with pytest.raises(SpecError, match=f"{call.__name__} is async or yields"):
        function(call)


def test_a_phone_that_is_a_text_is_an_argument() -> None:
    def dial(phone: Annotated[str, Field(max_length=11)], times: int = 1) -> str:
        """Dials a number."""
        return phone * times

    def ring(phone: int | None) -> int | None:
        """Rings."""
        return phone

    made = function(dial)
    assert [parameter.name for parameter in made.parameters] == ["phone", "times"] and not made.takes_state
    assert made.act("a state", {"phone": "110", "times": 2}) == "110110"
    assert function(ring).act("a state", {"phone": 5}) == 5
    assert order.takes_state


@pytest.mark.parametrize("given", [order, "order", {"order": order}, 3])
def test_functions_come_in_a_list(given: Any) -> None:
    with pytest.raises(SpecError, match=r"functions: got .*; expected a list of them: \["):
        functions_of(given)


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match="two functions are named 'order'"):
        functions_of([order, order])
