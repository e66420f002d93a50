"""Days as calls say them in functional tokens: counted from today, so that no model needs to know the calendar.

`+3` and `-4` are days from today. Weekdays go from 1, Monday, to 7: `>5` is the next Friday after today and `<5` the
latest one before it; `w5` is that of this week, `+w5` of the next one, `-w5` of the last one. `>12-24` is the next 24
December from today on, `<12-24` the latest one up to today. Other days are written out (`2027-03-01`). What follows a
`T` is a time, and stays as it is.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

from .bounds import FORMATS
from .errors import CallError, shown

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKDAYS_ZH = "一二三四五六日"
NEAR = 14
"""Days from today that are counted one by one."""
YEAR = 365
_LEAP = 8
"""Years until a day of a year comes again, at most."""
_DAY = "(?:0[1-9]|1[0-9]|2[0-8])"
_YEARLY = f"(?:(?:0[1-9]|1[0-2])-{_DAY}|02-29|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_RELATIVE = f"[+-][0-9]{{1,2}}|[<>][1-7]|[+-]?w[1-7]|[<>]{_YEARLY}"
PATTERNS = {
    f"^{FORMATS['date']}$": f"{FORMATS['date']}|{_RELATIVE}",
    f"^{FORMATS['date-time']}$": f"(?:{FORMATS['date']}|{_RELATIVE})T{FORMATS['time']}",
}
"""How a day, or a day and a time, may be written, by the pattern of the argument's schema."""


def date_line(language: str, today: datetime.date) -> str:
    """The line of a prompt that says which day it is."""
    if language == "zh":
        return f"今天是{today.isoformat()}，星期{WEEKDAYS_ZH[today.weekday()]}。"
    return f"Today is {today.isoformat()}, {WEEKDAYS[today.weekday()]}."


def relative(said: str, today: datetime.date, known: Mapping[str, str] | None = None) -> str:
    """A day of a call, `2027-03-01` or `2027-03-01T18:00`, as it is said where it is `today`.

    `known` are forms of days as a request has them ("next Friday" is `+w5`); other days are counted, up to two weeks,
    or told by their place in the year.
    """
    day, mark, time = said.partition("T")
    date = datetime.date.fromisoformat(day)
    distance = (date - today).days
    form = (known or {}).get(day, "")
    if not form and abs(distance) <= NEAR:
        form = f"{distance:+d}"
    elif not form and abs(distance) <= YEAR:
        form = f"{'>' if distance > 0 else '<'}{day[5:]}"
    same = form and absolute(form, today) == day
    return f"{form if same else day}{mark}{time}"


def absolute(said: str, today: datetime.date | None) -> str:
    """The way back. Raises CallError for a day that counts from today where that is not known."""
    form, mark, time = said.partition("T")
    if not re.fullmatch(_RELATIVE, form):
        return said
    if today is None:
        raise CallError(f"{shown(said)} counts from today, and it is not said which day that is (today=…)")
    try:
        date = _counted(form, today)
    except OverflowError:  # before the year 1, or after 9999
        raise CallError(f"{shown(said)}: no such day is near {today}") from None
    return f"{date.isoformat()}{mark}{time}"


def _counted(form: str, today: datetime.date) -> datetime.date:
    if "w" in form:
        week, weekday = {"": 0, "+": 1, "-": -1}[form[:-2]], int(form[-1])
        return today + datetime.timedelta(days=7 * week + weekday - today.isoweekday())
    if form[0] in "+-":
        return today + datetime.timedelta(days=int(form))
    if len(form) == 2:
        away = int(form[1]) - today.isoweekday()
        return today + datetime.timedelta(days=(away - 1) % 7 + 1 if form[0] == ">" else -((-away - 1) % 7 + 1))
    return _yearly(form, today)


def _yearly(said: str, today: datetime.date) -> datetime.date:
    """The day of a year that is next to today: `>12-24` from today on, `<12-24` up to today."""
    sign, month, day = (1 if said[0] == ">" else -1), int(said[1:3]), int(said[4:])
    for years in range(_LEAP + 1):
        try:
            date = datetime.date(today.year + sign * years, month, day)
        except ValueError:  # 29 February
            continue
        if sign * (date - today).days >= 0:
            return date
    raise CallError(f"{shown(said)}: no such day is near {today}")
