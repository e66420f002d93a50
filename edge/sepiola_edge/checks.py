"""What `edge.json` must hold: each value is read by its key, and one that is amiss is refused by one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sepiola_edge.errors import EdgeError

MOST = 2**31 - 1


def whole(raw: Mapping[str, Any], key: str, least: int = 0, most: int = MOST) -> int:
    """A whole number from `least` to `most`."""
    value = raw.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise EdgeError(f"edge.json: {key!r} is {value!r}; expected a whole number from {least} to {most}")
    return value


def whole_or_none(raw: Mapping[str, Any], key: str, least: int = 0) -> int | None:
    return None if key in raw and raw[key] is None else whole(raw, key, least)


def wholes(raw: Mapping[str, Any], key: str, most: int = MOST) -> list[int]:
    """A list of whole numbers."""
    value = raw.get(key)
    if not isinstance(value, list | tuple):
        raise EdgeError(f"edge.json: {key!r} is {value!r}; expected a list of whole numbers")
    return [whole({key: each}, key, 0, most) for each in value]


def text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise EdgeError(f"edge.json: {key!r} is {value!r}; expected a text")
    return value


def texts(raw: Mapping[str, Any], key: str) -> list[str]:
    value = raw.get(key)
    if not isinstance(value, list | tuple):
        raise EdgeError(f"edge.json: {key!r} is {value!r}; expected a list of texts")
    return [text({key: each}, key) for each in value]


def whole_text(given: object, name: str) -> str:
    """What somebody says, as a text without half a character pair."""
    if not isinstance(given, str) or any("\ud800" <= letter <= "\udfff" for letter in given):
        raise EdgeError(f"{name}: got {given!r:.200}; expected a text, without half a character pair")
    return given


def stops(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """The stop strings that somebody gives: one, several or none."""
    strings = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    for string in strings:
        if not isinstance(string, str) or not string:
            raise EdgeError(f"stop: got {string!r:.200}; expected texts, none of them empty")
    return strings


def flag(raw: Mapping[str, Any], key: str) -> bool:
    value = raw.get(key)
    if not isinstance(value, bool):
        raise EdgeError(f"edge.json: {key!r} is {value!r}; expected true or false")
    return value


def number(raw: Mapping[str, Any], key: str) -> float:
    value = raw.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
        raise EdgeError(f"edge.json: {key!r} is {value!r}; expected a number above 0")
    return float(value)
