"""Dates and times as they are said, relative to today, and what they stand for.

Weeks begin on Monday. "on Friday" is the next one after today, "next Friday" and 下周五 are in the next week, 本周五
is in this one; "last Friday" is the latest one before today and 上周五 in the week before. A day of a month without
its year is the next one to come, or, of what has happened, the latest that was.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from typing import NamedTuple

from sepiola.calling.days import WEEKDAYS, WEEKDAYS_ZH

FIRST, LAST = datetime.date(2024, 1, 1), datetime.date(2033, 12, 31)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
NUMBERS = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    "zh": ("零", "一", "两", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二"),
}

Day = datetime.date


class Said(NamedTuple):
    """A day in words, the day, and how it counts from today: see `sepiola.calling.days`."""

    words: str
    day: Day
    form: str


_Phrase = Callable[[random.Random, Day], Said]


def some_day(rng: random.Random) -> Day:
    """A day to be today."""
    return FIRST + datetime.timedelta(days=rng.randrange((LAST - FIRST).days))


def coming(rng: random.Random, language: str, today: Day) -> Said:
    """A day from today on, and how it is said."""
    return rng.choice(_COMING[language])(rng, today)


def past(rng: random.Random, language: str, today: Day) -> Said:
    """A day up to today, and how it is said."""
    return rng.choice(_PAST[language])(rng, today)


def next_occurrence(today: Day, month: int, day: int) -> Day:
    """The next such day of a year, today included; `day` is at most 28."""
    this = datetime.date(today.year, month, day)
    return this if this >= today else datetime.date(today.year + 1, month, day)


def clock(rng: random.Random, language: str, first: int, last: int) -> tuple[str, str]:
    """A time between two hours, as it is said, and as HH:MM."""
    hour, half = rng.randint(first, last), rng.random() < 0.4
    value = f"{hour:02d}:{30 if half else 0:02d}"
    if rng.random() < 0.3:
        return value, value
    twelve = (hour - 1) % 12 + 1
    if language == "zh":
        part = "早上" if hour < 11 else "中午" if hour < 13 else "下午" if hour < 18 else "晚上"
        number = NUMBERS["zh"][twelve] if rng.random() < 0.5 else str(twelve)
        return f"{part}{number}点{'半' if half else ''}", value
    return f"{twelve}{':30' if half else ''} {'am' if hour < 12 else 'pm'}", value


def _after(today: Day, days: int) -> Day:
    return today + datetime.timedelta(days=days)


def _monday(today: Day) -> Day:
    return _after(today, -today.weekday())


def _yearly(day: Day, sign: int) -> str:
    return f"{'>' if sign > 0 else '<'}{day:%m-%d}"


def _fixed(said: str, days: int) -> _Phrase:
    return lambda rng, today: Said(said, _after(today, days), f"{days:+d}")


def _en_in_days(rng: random.Random, today: Day) -> Said:
    days = rng.randint(2, 10)
    return Said(f"in {NUMBERS['en'][days] if rng.random() < 0.5 else days} days", _after(today, days), f"{days:+d}")


def _en_on(rng: random.Random, today: Day) -> Said:
    days = rng.randint(1, 7)
    day = _after(today, days)
    return Said(f"{rng.choice(('on ', 'this coming '))}{WEEKDAYS[day.weekday()]}", day, f">{day.isoweekday()}")


def _en_next(rng: random.Random, today: Day) -> Said:
    day = _after(_monday(today), 7 + rng.randrange(7))
    return Said(f"next {WEEKDAYS[day.weekday()]}", day, f"+w{day.isoweekday()}")


def _en_date(rng: random.Random, today: Day, sign: int = 1) -> Said:
    day = _after(today, sign * rng.randint(2, 300))
    month = _MONTHS[day.month - 1]
    words = rng.choice((f"on {month} {day.day}", f"on {day.day} {month}", f"on {day.isoformat()}"))
    return Said(words, day, _yearly(day, sign))


def _en_ago(rng: random.Random, today: Day) -> Said:
    days = rng.randint(2, 10)
    return Said(f"{NUMBERS['en'][days] if rng.random() < 0.5 else days} days ago", _after(today, -days), f"{-days}")


def _en_last(rng: random.Random, today: Day) -> Said:
    day = _after(today, -rng.randint(1, 7))
    return Said(f"last {WEEKDAYS[day.weekday()]}", day, f"<{day.isoweekday()}")


def _zh_in_days(rng: random.Random, today: Day) -> Said:
    days = rng.randint(2, 10)
    return Said(f"{NUMBERS['zh'][days] if rng.random() < 0.5 else days}天后", _after(today, days), f"+{days}")


def _zh_weekday(rng: random.Random, day: Day) -> str:
    return rng.choice(("周", "星期")) + WEEKDAYS_ZH[day.weekday()]


def _zh_this(rng: random.Random, today: Day) -> Said:
    day = _after(_monday(today), rng.randint(today.weekday(), 6))
    return Said(rng.choice(("本", "这")) + _zh_weekday(rng, day), day, f"w{day.isoweekday()}")


def _zh_next(rng: random.Random, today: Day) -> Said:
    day = _after(_monday(today), 7 + rng.randrange(7))
    return Said("下" + _zh_weekday(rng, day), day, f"+w{day.isoweekday()}")


def _zh_date(rng: random.Random, today: Day, sign: int = 1) -> Said:
    day = _after(today, sign * rng.randint(2, 300))
    return Said(f"{day.month}月{day.day}{rng.choice('日号')}", day, _yearly(day, sign))


def _zh_ago(rng: random.Random, today: Day) -> Said:
    days = rng.randint(2, 10)
    return Said(f"{NUMBERS['zh'][days] if rng.random() < 0.5 else days}天前", _after(today, -days), f"{-days}")


def _zh_last(rng: random.Random, today: Day) -> Said:
    day = _after(_monday(today), rng.randrange(7) - 7)
    return Said("上" + _zh_weekday(rng, day), day, f"-w{day.isoweekday()}")


_COMING: dict[str, tuple[_Phrase, ...]] = {
    "en": (
        _fixed("today", 0), _fixed("tomorrow", 1), _fixed("the day after tomorrow", 2), _en_in_days, _en_on, _en_on,
        _en_next, _en_next, _en_date, _en_date,
    ),
    "zh": (
        _fixed("今天", 0), _fixed("明天", 1), _fixed("后天", 2), _fixed("大后天", 3), _zh_in_days, _zh_this, _zh_next,
        _zh_next, _zh_date, _zh_date,
    ),
}  # fmt: skip
_PAST: dict[str, tuple[_Phrase, ...]] = {
    "en": (
        _fixed("today", 0), _fixed("yesterday", -1), _fixed("the day before yesterday", -2), _en_ago, _en_last,
        lambda rng, today: _en_date(rng, today, -1),
    ),
    "zh": (
        _fixed("今天", 0), _fixed("昨天", -1), _fixed("前天", -2), _zh_ago, _zh_last,
        lambda rng, today: _zh_date(rng, today, -1),
    ),
}  # fmt: skip
