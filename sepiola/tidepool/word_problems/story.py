"""Stories: an opening gives two children things, events change what they have, and a question asks for one number.

Each piece states its numbers in a sentence of the problem and reasons about them in a sentence of the solution. Pieces
know no language: a sentence is a name and what fills its slots (`sepiola.tidepool.word_problems.wording`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sepiola.tidepool.word_problems.program import LARGEST, Number, Operation, Program, UnfitError, constant

Slots = dict[str, int]


@dataclass(frozen=True)
class Sentence:
    """A sentence by its name: `slots` are its numbers and which child is meant ("A", "B": 0 or 1)."""

    name: str
    slots: Slots
    sums: tuple[Operation, ...] = ()


@dataclass
class Story:
    """A problem in the making: what each of two children has, what was stated, and what was reasoned."""

    rng: random.Random
    program: Program = field(default_factory=Program)
    have: list[Number] = field(default_factory=list)
    stated: list[Sentence] = field(default_factory=list)
    reasoned: list[Sentence] = field(default_factory=list)
    _reasoned: int = 0

    def given(self, low: int, high: int) -> Number:
        """A number that the problem states, between two bounds."""
        return self.program.given(self.rng.randint(low, high))

    def apply(self, sign: str, left: Number, right: Number, *, whole: bool = True) -> Number:
        return self.program.apply(sign, left, right, whole=whole)

    def tell(self, name: str, **slots: Number | int) -> None:
        """A sentence of the problem."""
        self.stated.append(Sentence(name, {key: int(str(value)) for key, value in slots.items()}))

    def reason(self, name: str, **slots: Number | int) -> None:
        """A sentence of the solution, with the operations since the last one."""
        sums = tuple(self.program.operations[self._reasoned :])
        self._reasoned = len(self.program.operations)
        self.reasoned.append(Sentence(name, {key: int(str(value)) for key, value in slots.items()}, sums))

    def both(self, child: int) -> dict[str, Number | int]:
        """The slots that say what a child, and the other one, have now."""
        return {"A": child, "B": 1 - child, "a": self.have[child], "b": self.have[1 - child]}


# ------------------------------------------------------------------------------------------------------- openings


def _both(story: Story) -> None:
    story.have = [story.given(5, 35), story.given(5, 35)]
    story.tell("both", A=0, B=1, n=story.have[0], m=story.have[1])


def _more(story: Story) -> None:
    base, more = story.given(4, 30), story.given(3, 20)
    story.tell("more", A=0, B=1, n=base, m=more)
    story.have = [story.apply("+", base, more), base]
    story.reason("has", A=0)


def _fewer(story: Story) -> None:
    base, fewer = story.given(12, 50), story.given(3, 25)
    story.tell("fewer", A=0, B=1, n=base, m=fewer)
    story.have = [story.apply("-", base, fewer), base]
    story.reason("has", A=0)


def _times(story: Story) -> None:
    base, times = story.given(3, 14), story.given(2, 5)
    story.tell("times", A=0, B=1, n=base, k=times)
    story.have = [story.apply("×", base, times), base]
    story.reason("has", A=0)


def _share_times(story: Story) -> None:
    times = story.rng.randint(2, 4)
    share_times(story, (times + 1) * story.rng.randint(3, 12), times)


def share_times(story: Story, all_of_them: int, times: int) -> None:
    """Two children share so many things, the first takes so many times the second's."""
    total, share = story.program.given(all_of_them), story.program.given(times)
    small = story.apply("÷", total, story.apply("+", share, constant(1)))
    story.have = [story.apply("×", small, share), small]
    story.tell("share times", A=0, B=1, n=total, k=share)
    story.reason("share times", A=0, B=1)


def _share_more(story: Story) -> None:
    small, more = story.rng.randint(3, 22), story.given(2, 14)
    total = story.program.given(2 * small + more.value)
    if total.value > LARGEST:
        raise UnfitError
    less = story.apply("÷", story.apply("-", total, more), constant(2))
    story.have = [story.apply("+", less, more), less]
    story.tell("share more", A=0, B=1, n=total, m=more)
    story.reason("share more", A=0, B=1, m=more)


def _rates(story: Story) -> None:
    numbers = [story.given(2, 7) for _ in range(4)]
    story.tell("rates", A=0, B=1, n=numbers[0], k=numbers[1], m=numbers[2], j=numbers[3])
    story.have = [story.apply("×", *numbers[:2]), story.apply("×", *numbers[2:])]
    story.reason("rates", A=0, B=1)


def _packs(story: Story) -> None:
    packs, each, loose, other = story.given(2, 6), story.given(3, 8), story.given(2, 9), story.given(5, 35)
    story.tell("packs", A=0, B=1, n=packs, m=each, k=loose, j=other)
    story.have = [story.apply("+", story.apply("×", packs, each), loose), other]
    story.reason("packs", A=0)


# --------------------------------------------------------------------------------------------------------- events


def _change(name: str, sign: str) -> Callable[[Story, int], None]:
    return lambda story, child: change(story, child, name, sign, story.rng.randint(2, 18))


def change(story: Story, child: int, name: str, sign: str, by: int) -> None:
    """What a child has grows or shrinks by a number."""
    number = story.program.given(by)
    story.tell(name, A=child, B=1 - child, n=number)
    story.have[child] = story.apply(sign, story.have[child], number)
    story.reason(name, A=child)


def _hands(story: Story, child: int) -> None:
    number = story.given(2, 12)
    story.tell("hands", A=child, B=1 - child, n=number)
    story.have[child] = story.apply("-", story.have[child], number)
    story.have[1 - child] = story.apply("+", story.have[1 - child], number)
    story.reason("hands", A=child, B=1 - child)


def _fraction(story: Story, child: int) -> None:
    parts = story.program.given(story.rng.choice([k for k in (2, 3, 4, 5) if story.have[child].value % k == 0] or [2]))
    story.tell("fraction", A=child, B=1 - child, k=parts)
    story.have[child] = story.apply("-", story.have[child], story.apply("÷", story.have[child], parts))
    story.reason("fraction", A=child)


def _rate(name: str, sign: str) -> Callable[[Story, int], None]:
    def event(story: Story, child: int) -> None:
        each, days = story.given(2, 7), story.given(2, 5)
        story.tell(name, A=child, B=1 - child, n=each, k=days)
        story.have[child] = story.apply(sign, story.have[child], story.apply("×", each, days))
        story.reason(name, A=child)

    return event


# ------------------------------------------------------------------------------------------------------ questions


def _now(story: Story, child: int) -> Number:
    story.tell("now", A=child, B=1 - child)
    return story.have[child]


def _total(story: Story, child: int) -> Number:
    story.tell("total", A=child, B=1 - child)
    total = story.apply("+", *story.have)
    story.reason("total", **story.both(0))
    return total


def _difference(story: Story, child: int) -> Number:
    story.tell("difference", A=child, B=1 - child)
    difference = story.apply("-", story.have[child], story.have[1 - child])
    story.reason("difference", **story.both(child))
    return difference


def _even(story: Story, child: int) -> Number:
    story.tell("even", A=child, B=1 - child)
    difference = story.apply("-", story.have[child], story.have[1 - child])
    half = story.apply("÷", difference, constant(2))
    story.reason("even", **story.both(child))
    return half


def _handover(story: Story, child: int) -> Number:
    """The textbook's own question: of the rest the other child shall have so many more; how many must change hands?"""
    total = story.have[0].value + story.have[1].value
    return handover(story, child, story.rng.choice([m for m in range(2, 13) if (total - m) % 2 == 0]))


def handover(story: Story, child: int, by: int) -> Number:
    """How many a child must hand over so that the other has so many more."""
    more = story.program.given(by)
    story.tell("handover", A=child, B=1 - child, m=more)
    twice = story.apply("-", story.apply("+", story.have[child], story.have[1 - child]), more)
    own = story.apply("÷", twice, constant(2))
    story.reason("handover", **story.both(child), m=more)
    over = story.apply("-", story.have[child], own)
    story.reason("hands over", A=child)
    return over


def _bags(story: Story, child: int) -> Number:
    each = story.given(3, 9)
    story.tell("bags", A=child, B=1 - child, n=each)
    total = story.apply("+", *story.have)
    story.reason("total", **story.both(0))
    bags = story.apply("÷", total, each)
    story.reason("bags")
    return bags


def _left_over(story: Story, child: int) -> Number:
    each = story.given(4, 9)
    story.tell("left over", A=child, B=1 - child, n=each)
    held = story.apply("×", story.apply("÷", story.have[child], each, whole=False), each)
    left = story.apply("-", story.have[child], held)
    story.reason("left over", **story.both(child))
    return left


def _sells(story: Story, child: int) -> Number:
    price = story.given(2, 5)
    story.tell("sells", A=child, B=1 - child, n=price)
    money = story.apply("×", story.have[child], price)
    story.reason("sells", A=child)
    return money


def _lasts(story: Story, child: int) -> Number:
    each = story.given(2, 9)
    story.tell("lasts", A=child, B=1 - child, n=each)
    days = story.apply("÷", story.have[child], each)
    story.reason("lasts", A=child)
    return days


OPENINGS: dict[str, Callable[[Story], None]] = {
    "both": _both,
    "more": _more,
    "fewer": _fewer,
    "times": _times,
    "share times": _share_times,
    "share more": _share_more,
    "rates": _rates,
    "packs": _packs,
}
EVENTS: dict[str, Callable[[Story, int], None]] = {
    "gives": _change("gives", "-"),
    "finds": _change("finds", "+"),
    "hands": _hands,
    "fraction": _fraction,
    "gathers": _rate("gathers", "+"),
    "uses": _rate("uses", "-"),
}
QUESTIONS: dict[str, Callable[[Story, int], Number]] = {
    "now": _now,
    "total": _total,
    "difference": _difference,
    "even": _even,
    "handover": _handover,
    "bags": _bags,
    "left over": _left_over,
    "sells": _sells,
    "lasts": _lasts,
}


# ------------------------------------------------------------------------------------------------------ bare sums


def bare_sums(story: Story, signs: Sequence[str]) -> Number:
    """A number that sums and differences change, one after the other; no children, no things."""
    result = story.given(2, 60)
    story.tell("begin", n=result)
    for sign in signs:
        by = story.given(2, 48)
        story.tell("add" if sign == "+" else "take", n=by)
        result = story.apply(sign, result, by)
        story.reason("sum")
    story.tell("what")
    return result


SUMS = ("begin", "add", "take", "what")
"""The sentences of bare sums."""
