"""Dates and times as they are said: each phrase means its day in both languages."""

from __future__ import annotations

import datetime
import random

import pytest

from sepiola.calling.days import date_line
from sepiola.tidepool.phone import dates

TODAY = datetime.date(2026, 5, 6)  # a Wednesday
COMING = {
    "en": {
        "today": (5, 6), "tomorrow": (5, 7), "the day after tomorrow": (5, 8), "in three days": (5, 9),
        "in 10 days": (5, 16),
        "on Wednesday": (5, 13), "on Friday": (5, 8), "this coming Monday": (5, 11), "next Wednesday": (5, 13),
        "next Monday": (5, 11), "next Sunday": (5, 17),
    },
    "zh": {
        "今天": (5, 6), "明天": (5, 7), "后天": (5, 8), "大后天": (5, 9), "三天后": (5, 9), "十天后": (5, 16),
        "本周五": (5, 8),
        "这星期日": (5, 10), "下周三": (5, 13), "下星期一": (5, 11), "下周日": (5, 17),
    },
}  # fmt: skip
PAST = {
    "en": {"yesterday": (5, 5), "two days ago": (5, 4), "last Wednesday": (4, 29), "last Monday": (5, 4)},
    "zh": {"昨天": (5, 5), "前天": (5, 4), "三天前": (5, 3), "上周三": (4, 29), "上星期一": (4, 27)},
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_phrase_means_its_day(language: str) -> None:
    rng = random.Random(0)
    for say, expected in ((dates.coming, COMING[language]), (dates.past, PAST[language])):
        heard = {said.words: said.day for said in (say(rng, language, TODAY) for _ in range(4000))}
        for said, (month, day) in expected.items():
            assert heard[said] == datetime.date(2026, month, day), said


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_date_names_one_day(language: str) -> None:
    """No phrase stands for two days, seen from one today."""
    rng = random.Random(1)
    for say in (dates.coming, dates.past):
        heard: dict[str, datetime.date] = {}
        for _ in range(3000):
            said, day, _ = say(rng, language, TODAY)
            assert heard.setdefault(said, day) == day, said


def test_times_are_said_in_both_languages() -> None:
    rng = random.Random(0)
    english = dict(dates.clock(rng, "en", 9, 21) for _ in range(900))
    assert english["7:30 pm"] == "19:30" and english["9 am"] == "09:00" and english["12 pm"] == "12:00"
    chinese = dict(dates.clock(rng, "zh", 9, 21) for _ in range(900))
    assert chinese["晚上七点半"] == "19:30" and chinese["早上9点"] == "09:00" and chinese["中午12点"] == "12:00"
    assert chinese["下午两点"] == "14:00" and chinese["19:30"] == "19:30"


def test_today_is_said_with_its_weekday() -> None:
    assert date_line("en", TODAY) == "Today is 2026-05-06, Wednesday."
    assert date_line("zh", TODAY) == "今天是2026-05-06，星期三。"
    assert dates.next_occurrence(TODAY, 5, 6) == TODAY
    assert dates.next_occurrence(TODAY, 5, 5) == datetime.date(2027, 5, 5)
