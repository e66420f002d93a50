"""Days that count from today come back as the days they were, and cannot be wrong."""

from __future__ import annotations

import datetime
import random
import re

import pytest

from sepiola.calling.days import PATTERNS, absolute, relative
from sepiola.errors import CallError
from sepiola.tidepool.phone import dates

TODAY = datetime.date(2024, 2, 28)


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2024-02-28", "+0"),
        ("2024-02-29", "+1"),
        ("2024-02-14", "-14"),
        ("2024-12-24", ">12-24"),
        ("2023-12-24", "<12-24"),
        ("2025-02-27", ">02-27"),
        ("2025-06-01", "2025-06-01"),
        ("2024-03-03T18:30", "+4T18:30"),
    ],
)
def test_a_day_is_said_from_today(day: str, said: str) -> None:
    assert relative(day, TODAY) == said
    assert absolute(said, TODAY) == day


@pytest.mark.parametrize(
    ("form", "day"),  # 2024-02-28 is a Wednesday
    [
        (">5", "2024-03-01"),
        (">3", "2024-03-06"),
        (">2", "2024-03-05"),
        ("<3", "2024-02-21"),
        ("<2", "2024-02-27"),
        ("<4", "2024-02-22"),
        ("w1", "2024-02-26"),
        ("+w1", "2024-03-04"),
        ("-w7", "2024-02-25"),
        ("+w3T08:00", "2024-03-06T08:00"),
    ],
)
def test_weekdays_count_from_today(form: str, day: str) -> None:
    assert absolute(form, TODAY) == day
    assert relative(day, TODAY, {day[:10]: form[:-6] if "T" in form else form}) == form


def test_a_form_that_is_another_day_is_not_taken() -> None:
    assert relative("2024-03-01", TODAY, {"2024-03-01": ">6"}) == "2024-03-01"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_phrases_of_requests_are_the_days_of_their_forms(language: str) -> None:
    rng, allowed = random.Random(1), re.compile(next(iter(PATTERNS.values())))
    for _ in range(2000):
        today = dates.some_day(rng)
        said = rng.choice((dates.coming, dates.past))(rng, language, today)
        assert absolute(said.form, today) == said.day.isoformat() and allowed.fullmatch(said.form)


def test_every_day_comes_back_and_is_allowed_by_the_grammar() -> None:
    rng = random.Random(0)
    allowed = re.compile(next(iter(PATTERNS.values())))
    for _ in range(3000):
        today = datetime.date(2024, 1, 1) + datetime.timedelta(days=rng.randrange(3650))
        day = today + datetime.timedelta(days=rng.randrange(-800, 800))
        said = relative(day.isoformat(), today)
        assert absolute(said, today) == day.isoformat() and allowed.fullmatch(said)


def test_whatever_the_grammar_allows_is_a_day_of_the_calendar() -> None:
    for said in (">02-29", "<02-29", ">12-31", "+99", "-99", "<01-01"):
        assert datetime.date.fromisoformat(absolute(said, TODAY))
    assert absolute("<02-29", datetime.date(2103, 1, 1)) == "2096-02-29"  # 2100 has none


@pytest.mark.parametrize("today", [datetime.date.min, datetime.date.max])
def test_days_that_the_calendar_does_not_have_are_refused(today: datetime.date) -> None:
    early = today == datetime.date.min
    for form in ("-1", "-w7", "<2", "<12-24") if early else ("+1", "+w1", ">2", ">01-01"):
        with pytest.raises(CallError, match=re.escape(f"'{form}': no such day is near {today}")):
            absolute(form, today)


def test_without_today_a_day_that_counts_from_it_is_refused() -> None:
    assert absolute("2024-02-29", None) == "2024-02-29"
    with pytest.raises(CallError, match="counts from today"):
        absolute("+3", None)
