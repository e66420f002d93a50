"""The twelve functions in the style of Android: each acts on the device, or says by one message why not."""

from __future__ import annotations

import datetime
import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from sepiola.acting.phone import Phone, android, apis
from sepiola.acting.phone.state import Alarm, Contact, Event, Forecast, News, Photo, Route
from sepiola.errors import ActionError

Act = Callable[..., dict[str, Any]]
NOON = datetime.datetime(2026, 3, 4, 12, 0)
ACTS: list[tuple[Act, dict[str, Any], Callable[[Phone], object], object]] = [
    (android.take_a_photo, {"camera": "front"}, lambda phone: phone.device.photos, [Photo("front", "1080p")]),
    (
        android.get_trending_news,
        {"topic": "登月", "language": "zh", "region": "CN", "max_results": 3},
        lambda phone: phone.device.news,
        [News("登月", "zh", "CN", 3)],
    ),
    (
        android.get_weather_forecast,
        {"location": "Oslo", "days": 3},
        lambda phone: phone.device.forecasts,
        [Forecast("Oslo", 3)],
    ),
    (android.search_youtube_videos, {"query": "包饺子"}, lambda phone: phone.device.videos, ["包饺子"]),
    (
        android.find_route,
        {"destination": "火车站", "mode": "cycling", "depart": NOON},
        lambda phone: phone.device.routes,
        [Route("火车站", "cycling", NOON)],
    ),
    (
        android.create_contact,
        {"name": "赵六", "number": "138-0000-0109", "email": "Zhao@Example.cn"},
        lambda phone: phone.contacts[-1],
        Contact("赵六", "zhao@example.cn", "13800000109"),
    ),
    (
        android.create_calendar_event,
        {"title": "Dentist", "start": NOON, "minutes": 45},
        lambda phone: phone.device.events,
        [Event("Dentist", NOON, 45)],
    ),
    (
        android.set_alarm,
        {"at": datetime.time(6, 30), "label": "跑步", "daily": True},
        lambda phone: phone.device.alarms,
        [Alarm(datetime.time(6, 30), "跑步", True)],
    ),
    (android.start_timer, {"minutes": 12}, lambda phone: phone.device.timers, [12]),
    (android.toggle_flashlight, {"on": True}, lambda phone: phone.device.flashlight, True),
    (android.set_volume, {"sound": "alarm", "level": 80}, lambda phone: phone.device.volume["alarm"], 80),
    (
        android.set_do_not_disturb,
        {"until": datetime.time(7)},
        lambda phone: phone.device.quiet_until,
        datetime.time(7),
    ),
]
REFUSED: list[tuple[Act, dict[str, Any], str]] = [
    (android.create_contact, {"name": "anna", "number": "5550199"}, "'anna' is in the address book"),
    (android.create_contact, {"name": "李四", "number": "call me"}, "'call me' is no phone number"),
    (android.create_contact, {"name": "Zoe", "number": "5550199", "email": "zoe"}, "'zoe' is no e-mail address"),
    (android.create_calendar_event, {"title": "会议", "start": datetime.datetime(2026, 3, 1, 9)}, "out of range"),
    (android.find_route, {"destination": "Oslo", "depart": datetime.datetime.max}, "out of range"),
    (
        android.create_calendar_event,
        {"title": "会议", "start": NOON.replace(tzinfo=datetime.UTC)},
        "names a time zone",
    ),
    (android.set_alarm, {"at": datetime.time(7, tzinfo=datetime.UTC)}, "names a time zone"),
]


@pytest.mark.parametrize(("act", "arguments", "where", "there"), ACTS)
def test_a_call_acts_on_the_device(
    act: Act, arguments: dict[str, Any], where: Callable[[Phone], object], there: object
) -> None:
    phone = Phone.start()
    result = act(phone, **arguments)
    assert where(phone) == there
    assert json.loads(json.dumps(result)) == result
    assert Phone.from_snapshot(phone.snapshot()) == phone != Phone.start()


@pytest.mark.parametrize(("act", "arguments", "says"), REFUSED)
def test_what_the_state_does_not_allow_is_one_message_and_changes_nothing(
    act: Act, arguments: dict[str, Any], says: str
) -> None:
    phone = Phone.start()
    with pytest.raises(ActionError, match=says) as caught:
        act(phone, **arguments)
    assert phone == Phone.start()
    assert str(caught.value).startswith(f"{act.__name__}: ") and "\n" not in str(caught.value)


def test_at_least_ten_are_none_of_the_ten() -> None:
    def own(module: object) -> set[str]:
        found = inspect.getmembers(module, inspect.isfunction)
        return {name for name, act in found if "phone" in inspect.signature(act).parameters and name[0] != "_"}

    mine = {name for name in own(android) if getattr(android, name).__module__ == android.__name__}
    assert mine == {act.__name__ for act, *_ in ACTS} and len(mine) >= 10
    assert not mine & own(apis)


def test_events_do_not_overlap_but_may_touch() -> None:
    phone = Phone.start()
    android.create_calendar_event(phone, "会议", NOON, 30)
    for minutes in (-29, 0, 29):
        with pytest.raises(ActionError, match="'会议' begins at 2026-03-04 12:00 and takes 30 minutes"):
            android.create_calendar_event(phone, "Lunch", NOON + datetime.timedelta(minutes=minutes), 30)
    for minutes in (-30, 30):
        android.create_calendar_event(phone, "Lunch", NOON + datetime.timedelta(minutes=minutes), 30)
    assert len(phone.device.events) == 3


def test_one_time_has_one_alarm() -> None:
    phone = Phone.start()
    android.set_alarm(phone, datetime.time(6))
    with pytest.raises(ActionError, match="at 06:00 is set already"):
        android.set_alarm(phone, datetime.time(6), "again")


def test_a_new_contact_can_be_written_to() -> None:
    phone = Phone.start()
    android.create_contact(phone, "Zoe", "5550199")
    apis.send_text_message(phone, "zoe", "Welcome")
    assert phone.texts[0].number == "5550199"
    with pytest.raises(ActionError, match="'Zoe' has no e-mail address"):
        apis.send_email(phone, "Zoe", "Hi", "Welcome")
