"""The phone's functions as a model sees them: ten in the order of Tidepool's requests, twelve that are others."""

from __future__ import annotations

import pytest

from sepiola.acting.phone import Phone, android, functions
from sepiola.acting.phone.tasks import perform, tasks
from sepiola.calling.calls import lark, read, write
from sepiola.calling.functions import Call, Function
from sepiola.errors import CallError
from sepiola.tidepool.phone import FUNCTIONS


def test_the_ten_stand_in_the_order_of_the_requests() -> None:
    assert tuple(function.name for function in functions()) == FUNCTIONS
    assert functions() == functions() and functions() is not functions()


def test_ten_or_more_are_not_among_the_ten() -> None:
    others = {function.name for function in android.functions()}
    assert len(others) == len(android.functions()) >= 10 and not others & set(FUNCTIONS)


@pytest.mark.parametrize("function", [*functions(), *android.functions()], ids=lambda function: function.name)
def test_a_function_takes_the_phone_and_describes_each_argument(function: Function) -> None:
    assert function.takes_state and function.description.endswith(".")
    assert all(parameter.description and parameter.name != "phone" for parameter in function.parameters)
    assert lark([function])


def test_a_function_acts_when_it_is_called() -> None:
    phone, by_name = Phone.start(), {function.name: function for function in functions()}
    function = by_name["instacart_shopping"]
    values = function.check({"items": [{"name": "牛奶", "quantity": 2, "unit": "bottle"}], "day": "2026-03-04"})
    function(phone, **values)
    assert phone.grocery_orders[0].items[0].name == "牛奶"
    for wrong in ({"items": []}, {"items": [{"name": "x", "quantity": 21}]}, {"items": [{"name": "x", "size": 1}]}, {}):
        with pytest.raises(CallError, match="instacart_shopping"):
            function.check(wrong)


def test_the_calls_of_tasks_are_written_and_read_back() -> None:
    for task in tasks("test", 40):
        calls = read(write(task.calls, functions()), functions())
        assert [call.name for call in calls] == [call.name for call in task.calls]
        phone = task.phone()
        perform(phone, calls)
        assert task.reached(phone), "a default that was said and one that was left out are one"


def test_calls_of_the_android_set_are_written_and_read_back() -> None:
    calls = [
        Call("set_alarm", {"at": "06:30", "label": "跑步", "daily": True}),
        Call("toggle_flashlight", {"on": False}),
        Call("create_calendar_event", {"title": "Dentist", "start": "2026-03-04T12:00", "minutes": 45}),
        Call("take_a_photo", {}),
    ]
    known = android.functions()
    assert [call.to_json() for call in read(write(calls, known), known)] == [call.to_json() for call in calls]
