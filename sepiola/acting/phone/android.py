"""Twelve more functions in the style of Octopus v2's Android set (Chen and Li, 2024), on the same `Phone`.

None of them is among the ten of `apis`: they are what an agent that knows the ten learns one by one. They look nothing
up: what was asked for stands in the phone's state.
"""

from __future__ import annotations

import datetime
from functools import cache
from typing import Annotated

from pydantic import Field

from sepiola.acting.functions import functions_of
from sepiola.acting.phone.apis import ADDRESS, NUMBER, Result, coming, digits, local, same_name
from sepiola.acting.phone.phrasings import ANDROID, phrased
from sepiola.acting.phone.state import (
    Alarm,
    Camera,
    Contact,
    Event,
    Forecast,
    News,
    NewsLanguage,
    Phone,
    Photo,
    Region,
    Resolution,
    Route,
    Sound,
    TravelMode,
)
from sepiola.calling.functions import Function
from sepiola.errors import ActionError, brief


def take_a_photo(phone: Phone, camera: Camera = "back", resolution: Resolution = "1080p") -> Result:
    """Takes a photo.

    Args:
        camera: Which camera: front (selfie, 前置镜头) or back (rear, 后置镜头).
        resolution: Resolution of the photo.
    """
    phone.device.photos.append(Photo(camera, resolution))
    return {"photos": len(phone.device.photos)}


def get_trending_news(
    phone: Phone,
    topic: Annotated[str, Field(min_length=1, max_length=60)] | None = None,
    language: NewsLanguage = "en",
    region: Region = "US",
    max_results: Annotated[int, Field(ge=1, le=20)] = 5,
) -> Result:
    """Shows the news that are read most.

    Args:
        topic: What the news are about; any topic when left out.
        language: Language of the news: en (English, 英文) or zh (Chinese, 中文).
        region: Region that the news come from: US (America, the States, 美国), UK (Britain, England, 英国),
            CN (China, 中国), SG (Singapore, 新加坡) or AU (Australia, 澳大利亚, 澳洲).
        max_results: How many to show at most.
    """
    phone.device.news.append(News(topic, language, region, max_results))
    return {"topic": topic, "language": language, "region": region, "max_results": max_results}


def get_weather_forecast(
    phone: Phone,
    location: Annotated[str, Field(min_length=1, max_length=60)],
    days: Annotated[int, Field(ge=1, le=10)] = 1,
) -> Result:
    """Shows the weather forecast.

    Args:
        location: Name of the place.
        days: How many days, today included.
    """
    phone.device.forecasts.append(Forecast(location, days))
    return {"location": location, "days": days}


def search_youtube_videos(phone: Phone, query: Annotated[str, Field(min_length=1, max_length=80)]) -> Result:
    """Searches for videos.

    Args:
        query: What to search for.
    """
    phone.device.videos.append(query)
    return {"query": query}


def find_route(
    phone: Phone,
    destination: Annotated[str, Field(min_length=1, max_length=60)],
    mode: TravelMode = "driving",
    depart: datetime.datetime | None = None,
) -> Result:
    """Finds the way to a place.

    Args:
        destination: Where to go.
        mode: How to get there: driving (car, 开车), walking (foot, 走路, 步行), cycling (bike, bicycle, 骑车) or
            transit (bus, train, 坐公交, 坐地铁).
        depart: When to leave; now when left out.
    """
    if depart is not None:
        coming("find_route", phone, local("find_route", depart).date(), 365)
    phone.device.routes.append(Route(destination, mode, depart))
    return {"destination": destination, "mode": mode}


def create_contact(
    phone: Phone,
    name: Annotated[str, Field(min_length=1, max_length=40)],
    number: Annotated[str, Field(min_length=3, max_length=20)],
    email: Annotated[str, Field(min_length=3, max_length=60)] | None = None,
) -> Result:
    """Writes a new contact into the address book.

    Args:
        name: Name of the person.
        number: Phone number.
        email: E-mail address.
    """
    if any(same_name(name, contact.name) for contact in phone.contacts):
        raise ActionError(f"create_contact: '{brief(name)}' is in the address book already; give another name")
    if not NUMBER.fullmatch(number):
        raise ActionError(f"create_contact: '{brief(number)}' is no phone number; give digits, such as 555-0199")
    if email is not None and not ADDRESS.fullmatch(email):
        raise ActionError(f"create_contact: '{brief(email)}' is no e-mail address; give one such as ann@example.org")
    phone.contacts.append(Contact(name, email and email.lower(), digits(number)))
    return {"contact": name}


def create_calendar_event(
    phone: Phone,
    title: Annotated[str, Field(min_length=1, max_length=80)],
    start: datetime.datetime,
    minutes: Annotated[int, Field(ge=5, le=480)] = 60,
) -> Result:
    """Writes an event into the calendar.

    Args:
        title: Name of the event.
        start: When it begins.
        minutes: How long it takes.
    """
    coming("create_calendar_event", phone, local("create_calendar_event", start).date(), 365)
    for event in phone.device.events:
        apart = int((start - event.start).total_seconds() // 60)
        if -minutes < apart < event.minutes:
            raise ActionError(
                f"create_calendar_event: '{brief(event.title)}' begins at {event.start:%Y-%m-%d %H:%M} and takes "
                f"{event.minutes} minutes; give a time that is free"
            )
    phone.device.events.append(Event(title, start, minutes))
    return {"event": title, "start": start.isoformat(), "minutes": minutes}


def set_alarm(
    phone: Phone,
    at: datetime.time,
    label: Annotated[str, Field(min_length=1, max_length=40)] | None = None,
    daily: bool = False,
) -> Result:
    """Sets an alarm.

    Args:
        at: When it rings.
        label: What it is for.
        daily: Whether it rings every day.
    """
    alarm = Alarm(local("set_alarm", at), label, daily)
    if any((own.at, own.daily) == (alarm.at, alarm.daily) for own in phone.device.alarms):
        raise ActionError(f"set_alarm: an alarm at {at:%H:%M} is set already; give another time")
    phone.device.alarms.append(alarm)
    return {"alarm": f"{at:%H:%M}", "daily": daily}


def start_timer(phone: Phone, minutes: Annotated[int, Field(ge=1, le=600)]) -> Result:
    """Starts a timer.

    Args:
        minutes: How long it runs.
    """
    phone.device.timers.append(minutes)
    return {"minutes": minutes}


def toggle_flashlight(phone: Phone, on: bool) -> Result:
    """Switches the flashlight on or off.

    Args:
        on: Whether it is to shine.
    """
    phone.device.flashlight = on
    return {"flashlight": on}


def set_volume(phone: Phone, sound: Sound, level: Annotated[int, Field(ge=0, le=100)]) -> Result:
    """Sets how loud the phone is.

    Args:
        sound: Which of its sounds: media (music, 媒体, 音乐), ringtone (ringer, 铃声), alarm (alarms, 闹钟) or
            call (calls, 通话).
        level: How loud, in per cent.
    """
    phone.device.volume[sound] = level
    return {"sound": sound, "level": level}


def set_do_not_disturb(phone: Phone, until: datetime.time) -> Result:
    """Keeps the phone quiet until a time.

    Args:
        until: When it may ring again.
    """
    phone.device.quiet_until = local("set_do_not_disturb", until)
    return {"quiet_until": f"{until:%H:%M}"}


def functions() -> list[Function]:
    """The twelve functions, in the order in which they are learned."""
    return list(_functions())


@cache
def _functions() -> tuple[Function, ...]:
    calls = (
        take_a_photo,
        get_trending_news,
        get_weather_forecast,
        search_youtube_videos,
        find_route,
        create_contact,
        create_calendar_event,
        set_alarm,
        start_timer,
        toggle_flashlight,
        set_volume,
        set_do_not_disturb,
    )
    return phrased(functions_of(calls), ANDROID)
