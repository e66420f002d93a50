"""What fills a template's slots: the words of the text, and the arguments that they give the call."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sepiola.tidepool.phone import dates
from sepiola.tidepool.phone.grammar import share_of
from sepiola.tidepool.phone.names import SAID
from sepiola.tidepool.phone.values import number_value, open_value, plural, quoted

Filled = tuple[str, dict[str, object]]
DELIVERY_DAYS = 14
_TRIES = 400
_COUNTS = (1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 12)
_PRICES = ("{}", "{}", "{}.50", "{}.99")
_UNITS = {
    "en": {
        "pack": ("pack of ", "packs of "),
        "bottle": ("bottle of ", "bottles of "),
        "kilogram": ("kilo of ", "kilos of "),
    },
    "zh": {"pack": ("包", "包"), "bottle": ("瓶", "瓶"), "kilogram": ("公斤", "公斤")},
}


class NoSuchDayError(Exception):
    """No day of this split can be said where today is given: another today is needed."""


@dataclass
class Context:
    """What one request is made of: `opened` gathers the values that belong to its split, `days` how each of its
    days counts from today.
    """

    rng: random.Random
    language: str
    split: str
    today: datetime.date | None = None
    opened: list[str] = field(default_factory=list)
    days: dict[str, str] = field(default_factory=dict)

    def open(self, kind: str) -> str:
        """An open value that this request has not."""
        value = open_value(kind, self.language, self.split, self.rng)
        while value in self.opened:
            value = open_value(kind, self.language, self.split, self.rng)
        self.opened.append(value)
        return value

    def day(
        self, say: Callable[[random.Random, str, datetime.date], dates.Said], most: int | None = None
    ) -> tuple[str, datetime.date]:
        """A day of the split, and how it is said; sets today where nothing has."""
        for _ in range(_TRIES):
            today = self.today or dates.some_day(self.rng)
            said, day, form = say(self.rng, self.language, today)
            if (most is None or (day - today).days <= most) and share_of("value", day.isoformat()) == self.split:
                self.today = today
                self.opened.append(day.isoformat())
                self.days[day.isoformat()] = form
                return said, day
        raise NoSuchDayError


def fill(slot: str, context: Context) -> Filled:
    """The words for a slot, and the arguments that they give. Raises KeyError for an unknown slot."""
    if slot.startswith("any_"):
        return context.open(slot.removeprefix("any_")), {}
    if slot in SAID:
        words = SAID[slot][context.language]
        value = context.rng.choice(list(words))
        return context.rng.choice(words[value]), {slot: value}
    return _FILLS[slot](context)


def _number(context: Context, count: int) -> str:
    return dates.NUMBERS[context.language][count] if context.rng.random() < 0.5 else str(count)


def _quantity(context: Context, most: int) -> int:
    return context.rng.choice([count for count in _COUNTS if count <= most])


def _counted(context: Context, kind: str, argument: str, counted: str, classifiers: str, most: int) -> Filled:
    """A thing with or without its count: "two red mugs", 两个杯子."""
    rng, language = context.rng, context.language
    count = _quantity(context, most)
    while True:
        name = plural(language, count, open_value(kind, language, context.split, rng))
        if share_of("value", name) == context.split:
            break
    context.opened.append(name)
    if language == "zh":
        if count == 1 and rng.random() < 0.5:
            return name, {argument: name}
        return f"{_number(context, count)}{rng.choice(classifiers)}{name}", {argument: name, counted: count}
    if count == 1:
        if rng.random() < 0.3:
            return f"one {name}", {argument: name, counted: 1}
        return f"{_article(name)} {name}", {argument: name, counted: 1}
    return f"{_number(context, count)} {name}", {argument: name, counted: count}


def _article(name: str) -> str:
    return "an" if name[0].lower() in "aeiou" else "a"


def _portions(context: Context) -> Filled:
    if context.language == "zh" or context.rng.random() < 0.6:
        return _counted(context, "dish", "dish", "quantity", "份个", 10)
    name, count = context.open("dish"), _quantity(context, 10)
    portion = context.rng.choice(("portion", "serving", "order"))
    return f"{_number(context, count)} {plural('en', count, portion)} of {name}", {"dish": name, "quantity": count}


def _groceries(context: Context) -> Filled:
    rng, language = context.rng, context.language
    said: list[str] = []
    items: list[dict[str, object]] = []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        if rng.random() < 0.5:
            text, item = _counted(context, "grocery", "name", "quantity", "个份", 10)
        else:
            unit = rng.choice(list(_UNITS[language]))
            name, count = context.open("grocery"), _quantity(context, 10)
            text = (
                f"{_number(context, count)}{'' if language == 'zh' else ' '}{_UNITS[language][unit][count > 1]}{name}"
            )
            item = {"name": name, "quantity": count, "unit": unit}
        if all(item["name"] != other["name"] for other in items):
            said.append(text)
            items.append(item)
    if language == "zh":
        return rng.choice(("、", "，", "和")).join(said), {"items": items}
    return ", ".join(said[:-1]) + (" and " if said[:-1] else "") + said[-1], {"items": items}


def _lost_item(context: Context) -> Filled:
    name = context.open("lost")
    if context.language == "zh":
        return context.rng.choice(("", "", "一个")) + name, {"item": name}
    return context.rng.choice(("my", "the", _article(name))) + " " + name, {"item": name}


def _text_value(kind: str, argument: str) -> Callable[[Context], Filled]:
    def filled(context: Context) -> Filled:
        value = context.open(kind)
        return quoted(value, context.language, context.rng), {argument: value}

    return filled


def _plain(kind: str, argument: str) -> Callable[[Context], Filled]:
    def filled(context: Context) -> Filled:
        value = context.open(kind)
        return value, {argument: value}

    return filled


def _reached(kind: str) -> Callable[[Context], Filled]:
    """A person by name, or by an address or number."""

    def filled(context: Context) -> Filled:
        if context.rng.random() < 0.8:
            value = context.open("person")
        elif kind == "email":
            value = context.open("email")
        else:
            value = number_value(context.rng.randint(7, 11), context.split, context.rng)
            context.opened.append(value)
        return value, {"to": value}

    return filled


def _coming(context: Context) -> Filled:
    said, day = context.day(dates.coming)
    return said, {"day": day.isoformat()}


def _delivery(context: Context) -> Filled:
    said, day = context.day(dates.coming, DELIVERY_DAYS)
    return said, {"day": day.isoformat()}


def _plain_day(context: Context) -> Filled:
    said, day = context.day(dates.coming, DELIVERY_DAYS)
    return said.removeprefix("on "), {"day": day.isoformat()}


def _past(context: Context) -> Filled:
    said, day = context.day(dates.past)
    return said, {"day": day.isoformat()}


def _price(context: Context) -> Filled:
    while True:
        said = context.rng.choice(_PRICES).format(context.rng.randint(5, 500))
        if share_of("value", said) == context.split:
            break
    context.opened.append(said)
    return said, {"max_price": float(said) if "." in said else int(said)}


def _budget(context: Context) -> Filled:
    while True:
        said = str(context.rng.randrange(100, 50_000, 10))
        if share_of("value", said) == context.split:
            break
    context.opened.append(said)
    return said, {"budget": int(said)}


def _count(context: Context) -> Filled:
    count = context.rng.randint(2, 9)
    return _number(context, count), {"quantity": count}


def _results(context: Context) -> Filled:
    count = context.rng.randint(2, 20)
    return str(count), {"results": count}


def _at(context: Context) -> Filled:
    said, value = dates.clock(context.rng, context.language, 11, 20)
    return said, {"at": value}


_FILLS: dict[str, Callable[[Context], Filled]] = {
    "mailbox": _reached("email"),
    "phone": _reached("number"),
    "subject": _text_value("subject", "subject"),
    "body": _text_value("message", "body"),
    "message": _text_value("message", "message"),
    "query": _text_value("query", "query"),
    "results": _results,
    "goods": lambda context: _counted(context, "product", "product", "quantity", "个件", 20),
    "max_price": _price,
    "waste": lambda context: _counted(context, "waste", "item", "pieces", "个只", 20),
    "lost_item": _lost_item,
    "own_item": _plain("lost", "item"),
    "place": _plain("place", "place"),
    "tag": _plain("tag", "tag"),
    "past_day": _past,
    "budget": _budget,
    "groceries": _groceries,
    "coming_day": _coming,
    "delivery_day": _delivery,
    "plain_day": _plain_day,
    "dishes": _portions,
    "restaurant": _plain("restaurant", "restaurant"),
    "count": _count,
    "at": _at,
    "pet_name": _plain("pet_name", "name"),
    "number": lambda context: (str(context.rng.randint(2, 99)), {}),
}
