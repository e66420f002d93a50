"""The phone's state goes to JSON data and back, is compared, and refuses what is no snapshot."""

from __future__ import annotations

import copy
import datetime
import json

import pytest

from sepiola.acting.phone import Phone
from sepiola.acting.phone.apis import instacart_shopping, send_text_message
from sepiola.acting.phone.state import Delivery, GroceryItem, GroceryOrder, Mail
from sepiola.errors import DataError


def busy_phone() -> Phone:
    phone = Phone.start()
    phone.mails.append(Mail("lilei@example.cn", "聚会", "周五见。"))
    phone.deliveries.append(Delivery("海底捞", "鱼片", 2, datetime.time(18, 30)))
    phone.grocery_orders.append(GroceryOrder([GroceryItem("eggs", 6)], datetime.date(2026, 3, 4)))
    phone.device.quiet_until = datetime.time(7)
    return phone


def test_the_start_state_speaks_both_languages_and_is_always_the_same() -> None:
    phone = Phone.start()
    names = [contact.name for contact in phone.contacts]
    assert any(name.isascii() for name in names) and any(not name.isascii() for name in names)
    assert phone == Phone.start() and phone.snapshot() == Phone.start().snapshot()
    assert not phone.mails and not phone.texts and not phone.cart


def test_a_snapshot_is_json_and_gives_the_same_phone() -> None:
    phone = busy_phone()
    text = json.dumps(phone.snapshot(), ensure_ascii=False)
    assert "海底捞" in text and '"18:30:00"' in text
    again = Phone.from_snapshot(json.loads(text))
    assert again == phone and json.dumps(again.snapshot(), ensure_ascii=False) == text
    assert again.deliveries[0].at == datetime.time(18, 30)


def test_a_copy_is_a_phone_of_its_own() -> None:
    phone = busy_phone()
    other = phone.copy()
    send_text_message(other, "王芳", "我到了")
    other.bins[0].contents["box"] = 1
    assert not phone.texts and not phone.bins[0].contents and other != phone


def test_the_outcome_forgets_the_order_of_calls_alone() -> None:
    calls = [("Anna", "late"), ("李雷", "晚到"), ("Anna", "sorry")]
    forward, backward = Phone.start(), Phone.start()
    for to, message in calls:
        send_text_message(forward, to, message)
    for to, message in reversed(calls):
        send_text_message(backward, to, message)
    assert forward != backward and forward.outcome() == backward.outcome()
    send_text_message(forward, "Anna", "late")
    assert forward.outcome() != backward.outcome(), "one message more is another outcome"


def test_the_outcome_forgets_the_order_within_an_order() -> None:
    items = [GroceryItem("milk", 2, "bottle"), GroceryItem("苹果", 3)]
    one, other = Phone.start(), Phone.start()
    instacart_shopping(one, items)
    instacart_shopping(other, items[::-1])
    assert one.outcome() == other.outcome()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("today",), "yesterday", "today"),
        (("bins", 0, "material"), "gold", "bins.0.material"),
        (("bins", 0, "capacity"), "30", "bins.0.capacity"),
        (("contacts", 1, "name"), 7, "contacts.1.name"),
        (("device", "flashlight"), 1, "device.flashlight"),
        (("pets", 0, "colour"), "brown", "pets.0.colour"),
        (("deliveries", 0, "at"), "18:30:00Z", "deliveries.0.at"),
        (("lights",), [], "lights"),
    ],
)
def test_what_is_no_snapshot_is_one_message(path: tuple[str | int, ...], value: object, says: str) -> None:
    data = copy.deepcopy(busy_phone().snapshot())
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(DataError, match=rf"^phone: {says}: .*expected what Phone.snapshot\(\) gives") as caught:
        Phone.from_snapshot(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "phone", {1: object()}, {"today": float("nan")}, {"today": {1, 2}}, b"x"])
def test_other_data_are_refused_too(data: object) -> None:
    with pytest.raises(DataError, match=r"^phone: .*Phone.snapshot\(\)"):
        Phone.from_snapshot(data)


def test_deep_data_are_refused() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match="phone"):
        Phone.from_snapshot({"today": deep})
