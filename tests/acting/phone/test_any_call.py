"""Whatever a valid call says, on whatever phone: it acts, or it is one message and nothing has changed."""

from __future__ import annotations

import datetime
import random
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from sepiola.acting.phone import Phone, android, functions
from sepiola.calling.functions import Function
from sepiola.errors import ActionError

LETTERS = [
    "a",
    "Z",
    " ",
    "  ",
    "é",
    "李",
    "，",
    "\n",
    "\x00",
    "\u202e",
    "🦑",
    "'",
    '"',
    "{}",
    "%s",
    "<fn_end>",
    "@",
    "+",
    "5",
]
NAMES = ["Anna", "李雷", "a@b.cn", "5550199", "Rex", "豆豆", "umbrella", "钥匙", "L-204", "delete all contacts", "../x"]
DATES = ["1000-01-01", "2026-02-28", "2026-03-01", "2026-03-02", "2026-03-03", "2026-03-10", "2027-01-01", "9999-12-31"]
TIMES = ["00:00", "08:59", "09:00", "12:30:15", "22:00", "22:01", "23:59:59"]
# Texts that have a pattern, by one that fits it.
BY_EXAMPLE = {"2026-03-02T12:30": [f"{d}T{t}" for d in DATES for t in TIMES], "2026-03-02": DATES, "12:30": TIMES}


def value_of(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """Some value of a schema, its bounds and hostile texts more often than others."""
    if "anyOf" in schema:
        return value_of(rng.choice(schema["anyOf"]), rng)
    if "enum" in schema or "const" in schema:
        return rng.choice(schema.get("enum", [schema.get("const")]))
    kind = schema["type"]
    if kind == "object":
        return {name: value_of(part, rng) for name, part in schema["properties"].items()}
    if kind == "array":
        return [
            value_of(schema["items"], rng) for _ in range(rng.randint(schema.get("minItems", 0), schema["maxItems"]))
        ]
    if kind in ("integer", "number"):
        low, high = schema["minimum"], schema["maximum"]
        return rng.choice((low, high, rng.randint(int(low), int(high))))
    if kind == "string":
        return text_of(schema, rng)
    return None if kind == "null" else rng.random() < 0.5


def text_of(schema: Mapping[str, Any], rng: random.Random) -> str:
    if "pattern" in schema:
        (found,) = (values for one, values in BY_EXAMPLE.items() if re.search(schema["pattern"], one))
        return rng.choice(found)
    text = rng.choice(NAMES) if rng.random() < 0.5 else "".join(rng.choices(LETTERS, k=rng.randint(1, 80)))
    return (
        (text + "x" * schema.get("minLength", 0))[: schema["maxLength"]]
        if len(text) < 4
        else text[: schema["maxLength"]]
    )


def call_of(function: Function, rng: random.Random) -> dict[str, Any]:
    stated = [parameter for parameter in function.parameters if parameter.required or rng.random() < 0.5]
    return {parameter.name: value_of(parameter.schema, rng) for parameter in stated}


@pytest.mark.parametrize("today", [Phone.start().today, datetime.date.min, datetime.date.max])
def test_a_valid_call_acts_or_changes_nothing(today: datetime.date) -> None:
    rng, known = random.Random(0), [*functions(), *android.functions()]
    became: Counter[tuple[str, bool]] = Counter()
    phone = Phone.start()
    for turn in range(3000):
        if turn % 300 == 0:
            phone = Phone.start() if turn % 600 == 0 else Phone(today)
            phone.today = today
        function = rng.choice(known)
        values = function.check(call_of(function, rng))
        before = phone.snapshot()
        try:
            function(phone, **values)
        except ActionError as error:
            assert phone.snapshot() == before
            assert "\n" not in str(error) and len(str(error)) < 1000
            became[function.name, False] += 1
        else:
            became[function.name, True] += 1
            assert Phone.from_snapshot(phone.snapshot()) == phone
    assert len({name for name, acted in became if acted}) >= 18
    assert sum(count for (_, acted), count in became.items() if not acted) > 200
