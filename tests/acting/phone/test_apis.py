"""The ten functions: each acts on the phone in both languages, or says by one message why not and changes nothing."""

from __future__ import annotations

import datetime
import inspect
import json
import typing
from collections.abc import Callable
from typing import Any

import pytest

from sepiola.acting.phone import Phone, apis
from sepiola.acting.phone.state import (
    Appointment,
    CartLine,
    Contact,
    Delivery,
    Design,
    GroceryItem,
    GroceryOrder,
    Mail,
    Notice,
    Search,
    Text,
)
from sepiola.errors import ActionError

Act = Callable[..., dict[str, Any]]
TODAY = Phone.start().today
TEN: tuple[Act, ...] = (
    apis.send_email, apis.send_text_message, apis.google_search, apis.amazon_shopping, apis.smart_recycling,
    apis.lost_and_found, apis.interior_design, apis.instacart_shopping, apis.doordash_delivery, apis.animal_care,
)  # fmt: skip
# What each does to the start state, in English and in Chinese: (function, arguments, where, what is there then).
ACTS: list[tuple[Act, dict[str, Any], Callable[[Phone], object], object]] = [
    (
        apis.send_email,
        {"to": "anna", "subject": "Dinner", "body": "I bring the salad."},
        lambda phone: phone.mails,
        [Mail("anna@example.org", "Dinner", "I bring the salad.")],
    ),
    (
        apis.send_email,
        {"to": "Info@Shore.example", "subject": "报名", "body": "我想参加。"},
        lambda phone: phone.mails,
        [Mail("info@shore.example", "报名", "我想参加。")],
    ),
    (
        apis.send_text_message,
        {"to": "王芳", "message": "我会晚到"},
        lambda phone: phone.texts,
        [Text("13800000102", "我会晚到")],
    ),
    (
        apis.send_text_message,
        {"to": "+1 555-0199", "message": "Found your keys"},
        lambda phone: phone.texts,
        [Text("+15550199", "Found your keys")],
    ),
    (
        apis.google_search,
        {"query": "潮汐表", "kind": "images", "results": 3},
        lambda phone: phone.searches,
        [Search("潮汐表", "images", 3)],
    ),
    (apis.google_search, {"query": "tide table"}, lambda phone: phone.searches, [Search("tide table", "web", 10)]),
    (
        apis.amazon_shopping,
        {"product": "台灯", "quantity": 2, "max_price": 89.5},
        lambda phone: phone.cart,
        [CartLine("台灯", 2, 89.5)],
    ),
    (
        apis.smart_recycling,
        {"item": "bottle", "material": "plastic", "pieces": 3},
        lambda phone: {bin_.material: bin_.contents for bin_ in phone.bins}["plastic"],
        {"bottle": 3},
    ),
    (
        apis.smart_recycling,
        {"item": "旧报纸", "material": "paper"},
        lambda phone: {bin_.material: bin_.contents for bin_ in phone.bins}["paper"],
        {"旧报纸": 1},
    ),
    (
        apis.lost_and_found,
        {"action": "report_lost", "item": "围巾", "place": "地铁站", "day": datetime.date(2026, 3, 1)},
        lambda phone: phone.notices[-1],
        Notice("lost", "围巾", "地铁站", datetime.date(2026, 3, 1)),
    ),
    (
        apis.lost_and_found,
        {"action": "report_found", "item": "scarf", "tag": "L-400"},
        lambda phone: phone.notices[-1],
        Notice("found", "scarf", None, TODAY, "L-400"),
    ),
    (
        apis.lost_and_found,
        {"action": "claim", "item": "umbrella", "tag": "L-204"},
        lambda phone: [notice.claimed for notice in phone.notices],
        [True, False],
    ),
    (
        apis.lost_and_found,
        {"action": "claim", "item": "钥匙"},
        lambda phone: [notice.claimed for notice in phone.notices],
        [False, True],
    ),
    (
        apis.interior_design,
        {"room": "study", "style": "japanese", "colour": "green", "budget": 2000},
        lambda phone: {room.name: room.designs for room in phone.rooms}["study"],
        [Design("japanese", "green", 2000)],
    ),
    (
        apis.instacart_shopping,
        {"items": [GroceryItem("牛奶", 2, "bottle"), GroceryItem("eggs")], "day": datetime.date(2026, 3, 4)},
        lambda phone: phone.grocery_orders,
        [GroceryOrder([GroceryItem("牛奶", 2, "bottle"), GroceryItem("eggs")], datetime.date(2026, 3, 4))],
    ),
    (
        apis.doordash_delivery,
        {"restaurant": "Roma", "dish": "pizza", "quantity": 2},
        lambda phone: phone.deliveries,
        [Delivery("Roma", "pizza", 2)],
    ),
    (
        apis.doordash_delivery,
        {"restaurant": "老王面馆", "dish": "牛肉面", "at": datetime.time(12, 15)},
        lambda phone: phone.deliveries,
        [Delivery("老王面馆", "牛肉面", 1, datetime.time(12, 15))],
    ),
    (
        apis.animal_care,
        {"animal": "dog", "service": "grooming", "day": TODAY},
        lambda phone: phone.pets[0].appointments,
        [Appointment("grooming", TODAY)],
    ),
    (
        apis.animal_care,
        {"animal": "cat", "service": "vaccination", "day": datetime.date(2026, 3, 9), "name": "豆豆",
         "at": datetime.time(10)},
        lambda phone: phone.pets[3].appointments,
        [Appointment("vaccination", datetime.date(2026, 3, 9), datetime.time(10))],
    ),
]  # fmt: skip
# What the start state does not allow: (function, arguments, the message).
REFUSED: list[tuple[Act, dict[str, Any], str]] = [
    (apis.send_email, {"to": "Carl", "subject": "a", "body": "b"}, "no contact is called 'Carl'; give an e-mail"),
    (apis.send_email, {"to": "a@b", "subject": "a", "body": "b"}, "no contact is called 'a@b'"),
    (
        apis.send_text_message,
        {"to": "赵六", "message": "好"},
        "no contact is called '赵六'; give a phone number, .*李雷",
    ),
    (apis.smart_recycling, {"item": "can", "material": "metal", "pieces": 51}, "has room for 50 pieces, got 51"),
    (
        apis.lost_and_found,
        {"action": "report_lost", "item": "hat", "day": datetime.date(2026, 3, 3)},
        "2026-03-03 is still to come",
    ),
    (apis.lost_and_found, {"action": "report_found", "item": "hat", "tag": "L-204"}, "'L-204' is on the board"),
    (apis.lost_and_found, {"action": "claim", "item": "hat"}, "no unclaimed notice has 'hat'"),
    (apis.lost_and_found, {"action": "claim", "item": "钥匙", "tag": "L-999"}, "no unclaimed notice has tag 'L-999'"),
    (apis.interior_design, {"room": "nursery", "style": "modern"}, "no nursery; rooms: living_room, bedroom"),
    (apis.instacart_shopping, {"items": [GroceryItem("盐"), GroceryItem("盐", 2)]}, "'盐' is listed twice"),
    (
        apis.instacart_shopping,
        {"items": [GroceryItem("salt")], "day": datetime.date(2026, 3, 17)},
        "2026-03-17 is out of range",
    ),
    (
        apis.doordash_delivery,
        {"restaurant": "Roma", "dish": "pizza", "at": datetime.time(3)},
        "at 03:00 no kitchen delivers; give a time from 09:00 to 22:00",
    ),
    (
        apis.doordash_delivery,
        {"restaurant": "Roma", "dish": "pizza", "at": datetime.time(12, tzinfo=datetime.UTC)},
        "names a time zone",
    ),
    (apis.animal_care, {"animal": "fish", "service": "checkup", "day": TODAY}, "there is no fish; pets: dog Rex"),
    (apis.animal_care, {"animal": "cat", "service": "checkup", "day": TODAY}, "2 pets that are a cat; give the name"),
    (
        apis.animal_care,
        {"animal": "dog", "service": "checkup", "day": TODAY, "name": "豆豆"},
        "there is no dog '豆豆'",
    ),
    (apis.animal_care, {"animal": "dog", "service": "checkup", "day": datetime.date(2026, 3, 1)}, "out of range"),
    (apis.animal_care, {"animal": "dog", "service": "checkup", "day": datetime.date.max}, "out of range"),
]


@pytest.mark.parametrize(("act", "arguments", "where", "there"), ACTS)
def test_a_call_acts_on_the_phone(
    act: Act, arguments: dict[str, Any], where: Callable[[Phone], object], there: object
) -> None:
    phone = Phone.start()
    result = act(phone, **arguments)
    assert where(phone) == there
    assert json.loads(json.dumps(result)) == result, "what a function returns is JSON data"
    assert Phone.from_snapshot(phone.snapshot()) == phone
    changed = {key for key, value in phone.snapshot().items() if value != Phone.start().snapshot()[key]}
    assert len(changed) == 1, "a call touches one part of the state"


@pytest.mark.parametrize(("act", "arguments", "says"), REFUSED)
def test_what_the_state_does_not_allow_is_one_message_and_changes_nothing(
    act: Act, arguments: dict[str, Any], says: str
) -> None:
    phone = Phone.start()
    with pytest.raises(ActionError, match=says) as caught:
        act(phone, **arguments)
    assert phone == Phone.start()
    assert str(caught.value).startswith(f"{act.__name__}: ") and "\n" not in str(caught.value)


def test_every_function_is_tried_in_both_ways() -> None:
    assert {act for act, *_ in ACTS} == set(TEN)
    assert {act for act, *_ in REFUSED} | {apis.google_search, apis.amazon_shopping} == set(TEN)


def test_a_cart_adds_up_one_product_and_has_an_end() -> None:
    phone = Phone.start()
    for _ in range(4):
        apis.amazon_shopping(phone, "battery", 20, 5)
    apis.amazon_shopping(phone, "battery", 19)
    assert phone.cart == [CartLine("battery", 80, 5.0), CartLine("battery", 19)]
    with pytest.raises(ActionError, match="99 of 'battery' are in the cart"):
        apis.amazon_shopping(phone, "battery")


def test_a_thing_is_claimed_once() -> None:
    phone = Phone.start()
    apis.lost_and_found(phone, "claim", "umbrella")
    with pytest.raises(ActionError, match="no unclaimed notice"):
        apis.lost_and_found(phone, "claim", "umbrella")


def test_a_message_lists_a_few_names() -> None:
    phone = Phone.start()
    phone.contacts += [Contact(f"Person {n}", None, "555") for n in range(5000)]
    with pytest.raises(ActionError, match="Person 3 and 4996 more") as caught:
        apis.send_text_message(phone, "Nobody", "hello")
    assert len(str(caught.value)) < 400
    with pytest.raises(ActionError, match="bins: none"):
        apis.smart_recycling(Phone(today=TODAY), "can", "metal")


def test_names_that_two_contacts_share_are_asked_about() -> None:
    phone = Phone.start()
    phone.contacts.append(phone.contacts[0])
    with pytest.raises(ActionError, match="2 contacts are called 'Anna'; give a phone number"):
        apis.send_text_message(phone, "Anna", "hello")


@pytest.mark.parametrize("act", TEN)
def test_a_signature_says_its_bounds_and_what_each_argument_is(act: Act) -> None:
    phone, *parameters = inspect.signature(act).parameters.values()
    hints = typing.get_type_hints(act, include_extras=True)
    assert phone.name == "phone" and hints["phone"] is Phone
    assert act.__doc__ is not None and "Args:" in act.__doc__
    described = act.__doc__.partition("Args:")[2]
    for parameter in parameters:
        assert f"\n        {parameter.name}: " in described
        bare = hints[parameter.name] in (str, int, float, list)
        assert not bare, f"{act.__name__}: {parameter.name} has no bound"
