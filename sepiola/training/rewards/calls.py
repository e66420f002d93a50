"""Rewards of calls: those that were written beside those of the example (`metadata["calls"]`).

Calls are read as literals, in functional tokens or as JSON, and checked by their functions; what cannot be read is
worth 0, also where nothing was to be called. Their order does not count, and one too many costs as much as a wrong one.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Literal

from sepiola.acting.checking import same_value
from sepiola.acting.sets import functions_named
from sepiola.calling.calls import read, read_json, tokens_of
from sepiola.calling.functions import Call, Function
from sepiola.data.example import Example
from sepiola.errors import CallError, DataError
from sepiola.training.rewards.contract import RewardSpec, Written

MARK = "<fn_"


class CallsSpec(RewardSpec):
    """`functions` is a set's name (`phone`) or a Python file.

    1 for the very calls, 0 for others; `partial`: for each call the right name is half, and the share of its arguments
    that are right the other half.
    """

    kind: Literal["calls"]
    functions: str = "phone"
    partial: bool = False

    def tokens(self) -> list[str]:
        """One a function, and those that they share."""
        return tokens_of(len(self.callables()))

    def callables(self) -> Sequence[Callable[..., object]]:
        """The set."""
        return functions_named(self.functions)


class Calls:
    """How many of the right calls were written."""

    spec: ClassVar[type[RewardSpec]] = CallsSpec

    def __init__(self, spec: RewardSpec) -> None:
        assert isinstance(spec, CallsSpec)
        self.asked = spec

    @cached_property
    def functions(self) -> list[Function]:
        """Those that may be called."""
        return functions_named(self.asked.functions)

    def score(self, examples: Sequence[Example], written: Sequence[Written]) -> list[float]:
        return [
            self._worth(wanted(example), one, example.today) for example, one in zip(examples, written, strict=True)
        ]

    def _worth(self, right: Sequence[Call], one: Written, today: datetime.date | None) -> float:
        said = calls_in(one, self.functions, today)
        if said is None:
            return 0.0
        if not right and not said:
            return 1.0
        worth = matched([self._whole(call) for call in right], [self._whole(call) for call in said])
        return worth if self.asked.partial else float(worth == 1.0)

    def _whole(self, call: Call) -> tuple[str, Mapping[str, object]]:
        """A call with the arguments that it leaves out. Raises DataError for one of no function."""
        function = next((f for f in self.functions if f.name == call.name), None)
        if function is None:
            raise DataError(f"the data call '{call.name}', which is no function of the reward ({self.asked.functions})")
        return call.name, {p.name: call.arguments.get(p.name, p.default) for p in function.parameters}


def wanted(example: Example) -> list[Call]:
    """The example's calls. Raises DataError where it says none."""
    said = example.metadata.get("calls")
    if said is None:
        raise DataError(f"{example.id}: no calls (metadata 'calls'), by which a reward of calls judges")
    return [Call(call["name"], call["arguments"]) for call in said]


def calls_in(one: Written, functions: Sequence[Function], today: datetime.date | None) -> list[Call] | None:
    """The calls that were written; None for what is none."""
    try:
        return read(one.marked, functions, today) if MARK in one.marked else read_json(one.text, functions)
    except CallError:
        return None


def matched(
    right: Sequence[tuple[str, Mapping[str, object]]], said: Sequence[tuple[str, Mapping[str, object]]]
) -> float:
    """The mean likeness of calls paired with each other, best pairs first; a call without a pair is like none."""
    pairs = sorted(
        ((_likeness(a, b), i, j) for i, a in enumerate(right) for j, b in enumerate(said)),
        key=lambda pair: (-pair[0], *pair[1:]),
    )
    total, left, free = 0.0, {*range(len(right))}, {*range(len(said))}
    for likeness, i, j in pairs:
        if i in left and j in free:
            total += likeness
            left.remove(i)
            free.remove(j)
    return total / max(len(right), len(said))


def _likeness(one: tuple[str, Mapping[str, object]], other: tuple[str, Mapping[str, object]]) -> float:
    (name, arguments), (called, given) = one, other
    if name != called:
        return 0.0
    same = sum(same_value(given[key], value) for key, value in arguments.items())
    return 0.5 + 0.5 * (same / len(arguments) if arguments else 1.0)
