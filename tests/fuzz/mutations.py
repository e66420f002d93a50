"""Seeded damage: to plain data, to text and to bytes."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

NASTY: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        3,
        1 << 31,
        (1 << 31) - 1,
        1 << 63,
        1 << 64,
        10**30,
        0.0,
        -0.5,
        1.5,
        1e308,
        1e-320,
    ),
    *(
        float("inf"),
        float("-inf"),
        float("nan"),
        "",
        " ",
        "x",
        "auto",
        "null",
        "²",
        "图",
        "../../x",
        "/etc/passwd",
        "a\0b",
    ),
    *("a" * 5000, "{{ 1 }}", "[", "\ud800", "\u202e", "0", "1e9", [], [[]], [None], [1, 2, 3], {}, {"a": 1}, {"": {}}),
    *([0] * 2000, {"like": "x"}, {str(n): n for n in range(300)}),
)
TEXTS = (
    "",
    "\0",
    "\n",
    "[" * 5000,
    "{" * 300,
    "'",
    '"',
    "#",
    ": ",
    "- ",
    "&a *a",
    "{{",
    "}}",
    "{%",
    "%}",
    "﻿",
    "9" * 5000,
)


def damaged_data(value: Any, rng: random.Random, times: int = 2) -> Any:
    """Plain data of which some members are others, gone, twice, or deeper."""
    result = copy.deepcopy(value)
    for _ in range(rng.randint(1, times)):
        places = _places(result)
        if not places:
            return rng.choice(NASTY)
        holder, key = rng.choice(places)
        match rng.randrange(8):
            case 0:
                del holder[key]
            case 1:
                holder[key] = copy.deepcopy(rng.choice(rng.choice(places)[0:1]))
                result = json.loads(json.dumps(result, default=str)) if _deep(result) else result
            case 2 if isinstance(holder, dict):
                holder[rng.choice([f"{key}s", str(key).upper(), "", "../x", "__class__"])] = holder.pop(key)
            case 3 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = rng.choice([-1, 0, 2, 0.5, 1e6]) * holder[key]
            case _:
                holder[key] = copy.deepcopy(rng.choice(NASTY))
    return result


def _deep(value: Any) -> bool:
    try:
        json.dumps(value, default=str)
    except (ValueError, RecursionError):
        return False
    return True


def _places(value: Any, most: int = 3000) -> list[tuple[Any, Any]]:
    """Every member of plain data, as its holder and its key."""
    places: list[tuple[Any, Any]] = []
    left = [value]
    while left and len(places) < most:
        here = left.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        for key in keys:
            places.append((here, key))
            left.append(here[key])
    return places


def damaged_text(text: str, rng: random.Random) -> str:
    """Text of which pieces are gone, twice, elsewhere or others."""
    for _ in range(rng.randint(1, 3)):
        at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        to = min(to, at + rng.choice([1, 3, 40, 4000]))
        match rng.randrange(5):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:at] + rng.choice(TEXTS) + text[at:]
            case 2:
                text = text[:at] + text[at:to] * rng.choice([2, 3]) + text[to:]
            case 3:
                text = text[:at]
            case _:
                text = text[:at] + rng.choice([str(v)[:200] for v in NASTY]) + text[to:]
    return text


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes of which some are others, gone, twice, or follow no more; often near the head, where the structure is."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(len(data), rng.choice([16, 200, 1 << 30])) + 1) if data else 0
        match rng.randrange(6):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + rng.randbytes(rng.choice([1, 4, 64])) + data[at:]
            case 2:
                data = data[:at] + data[at + rng.choice([1, 4, 64]) :]
            case 3:
                data = data[:at] + rng.choice([b"\0" * 8, b"\xff" * 8]) + data[at + 8 :]
            case _:
                data = data[:at] + rng.randbytes(1) + data[at + 1 :]
    return data
