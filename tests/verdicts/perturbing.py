"""Right calls with something changed in them: by `WAYS`, the kinds of change, each by its name."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sepiola.data.example import Example

Calls = list[dict[str, Any]]
Way = Callable[[Calls, Example, random.Random], None]
CHINESE = ("北京", "，", "。", "“", "（", "　", "１", "王芳")


def perturbed(example: Example, rng: random.Random) -> tuple[str, Calls]:
    """The calls of a request, of any of the right values, after one or two changes; and the first one's name."""
    calls = _some_right(example.metadata["allowed"], rng)
    names = [rng.choice([*WAYS]) for _ in range(rng.choice([1, 1, 2]))]
    for name in names:
        WAYS[name](calls, example, rng)
    return names[0], calls


def _some_right(allowed: Sequence[Mapping[str, Any]], rng: random.Random) -> Calls:
    calls = []
    for answer in allowed:
        arguments = {}
        for name, values in answer["arguments"].items():
            some = [value for value in values if value != ""]
            if some and ("" not in values or rng.random() < 0.5):
                arguments[name] = _plain(copy.deepcopy(rng.choice(some)), rng)
        calls.append({"name": answer["name"], "arguments": arguments})
    return calls


def _plain(value: Any, rng: random.Random) -> Any:
    """A value without the lists of alternatives inside objects."""
    if isinstance(value, dict):
        some = {key: [one for one in parts if one != ""] if isinstance(parts, list) else [parts]
                for key, parts in value.items()}  # fmt: skip
        return {key: _plain(rng.choice(parts), rng) for key, parts in some.items() if parts and rng.random() < 0.95}
    return [_plain(part, rng) for part in value] if isinstance(value, list) else value


def _changed(calls: Calls, rng: random.Random, change: Callable[[Any], Any]) -> None:
    """Changes a value, or one inside it."""
    holders = [call["arguments"] for call in calls if call["arguments"]]
    if not holders:
        return
    holder: Any = rng.choice(holders)
    key: Any = rng.choice([*holder])
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.6:
        holder = holder[key]
        key = rng.choice([*holder]) if isinstance(holder, dict) else rng.randrange(len(holder))
    holder[key] = change(holder[key])


def types(calls: Calls, example: Example, rng: random.Random) -> None:
    """A value of another type."""

    def change(value: Any) -> Any:
        made = [str(value), [value], {"value": value}, None, bool(value), str(value).lower()]
        made += [float(value), int(value)] if isinstance(value, int | float) else [1, 1.0]
        return rng.choice(made)

    _changed(calls, rng, change)


def numbers(calls: Calls, example: Example, rng: random.Random) -> None:
    """A number near by, or the same in another form."""
    near = rng.choice([1, -1, 0.5, 1e-9, 0.0, 2**53])
    _changed(calls, rng, lambda v: v + near if isinstance(v, int | float) else rng.choice([v, f"{v}.0", f"{v}0"]))


def letters(calls: Calls, example: Example, rng: random.Random) -> None:
    """Case, spaces and punctuation."""

    def change(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        at = rng.randrange(len(value) + 1)
        mark = rng.choice([*" ,./-_*^'\"!?:;\t()", "  ", "ß", "İ"])
        return rng.choice([value.upper(), value.title(), value[:at] + mark + value[at:], value.replace(" ", ""),
                           value.replace("'", '"'), value[:at], value.strip(".")])  # fmt: skip

    _changed(calls, rng, change)


def chinese(calls: Calls, example: Example, rng: random.Random) -> None:
    """Chinese letters and full-width signs."""
    word = rng.choice(CHINESE)
    _changed(calls, rng, lambda v: rng.choice([word, f"{v}{word}", str(v).replace(",", "，"), [word]]))


def missing(calls: Calls, example: Example, rng: random.Random) -> None:
    """An argument, or a member of one, that is not there."""
    places = [value for call in calls for value in (call["arguments"], *call["arguments"].values())]
    some = [place for place in places if isinstance(place, dict | list) and place]
    if some:
        place = rng.choice(some)
        del place[rng.choice([*place]) if isinstance(place, dict) else rng.randrange(len(place))]


def extra(calls: Calls, example: Example, rng: random.Random) -> None:
    """An argument more, declared or not, or a member more."""
    if not calls:
        return
    declared = [tool["function"]["parameters"].get("properties", {}) for tool in example.metadata["tools"]]
    value = rng.choice([1, "x", None, True, [1.5], {}, "", 0])
    arguments = rng.choice(calls)["arguments"]
    inner = [part for part in arguments.values() if isinstance(part, dict)]
    rng.choice([arguments, arguments, *inner])[rng.choice([*rng.choice(declared), "extra"])] = value


def order(calls: Calls, example: Example, rng: random.Random) -> None:
    """Another order of the calls, the arguments, or the members of a list."""
    rng.shuffle(calls)
    for call in calls:
        call["arguments"] = dict(sorted(call["arguments"].items(), reverse=True))
    _changed(calls, rng, lambda v: v[::-1] if isinstance(v, list) and rng.random() < 0.5 else v)


def count(calls: Calls, example: Example, rng: random.Random) -> None:
    """A call more, or one fewer."""
    if calls and rng.random() < 0.5:
        del calls[rng.randrange(len(calls))]
    elif calls:
        calls.insert(rng.randrange(len(calls) + 1), copy.deepcopy(rng.choice(calls)))


def names(calls: Calls, example: Example, rng: random.Random) -> None:
    """Another function's name, or the same in another form."""
    if calls:
        call = rng.choice(calls)
        others = [tool["function"]["name"] for tool in example.metadata["tools"]]
        call["name"] = rng.choice([*others, "other", call["name"].upper(), call["name"].replace(".", "_")])


def nothing(calls: Calls, example: Example, rng: random.Random) -> None:
    """No change."""


WAYS: dict[str, Way] = {
    "types": types,
    "numbers": numbers,
    "letters": letters,
    "chinese": chinese,
    "missing": missing,
    "extra": extra,
    "order": order,
    "count": count,
    "names": names,
    "nothing": nothing,
}
