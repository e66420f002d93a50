"""A program: the numbers that a word problem gives, and the operations that lead from them to its answer.

A number knows the expression that it came of. With what is given left out, that expression is the problem's structure
("n-(n-n)÷2"); with it, its sums and differences are the facts that a solver must work out. Both decide the split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

LARGEST = 50
_STRUCTURE, _FACT = "structure 13", "fact 0"  # what is hashed with them: so that the textbook's problem is held out
_OPERATIONS = {"+": int.__add__, "-": int.__sub__, "×": int.__mul__, "÷": int.__floordiv__}
_COMMUTE = "+×"


class UnfitError(Exception):
    """The numbers that were drawn do not fit: a result is not whole, too large, or not above 0."""


@dataclass(frozen=True)
class Number:
    """A number of a program: `form` is its expression without what is given, `parts` all that went into it."""

    value: int
    form: str = "n"
    parts: frozenset[int] = frozenset()

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Operation:
    """One step of arithmetic: `left sign right = result`."""

    sign: str
    left: int
    right: int
    result: int

    @property
    def fact(self) -> str:
        """The operation by its numbers alone: those of a sum stand in their order of size."""
        left, right = sorted((self.left, self.right)) if self.sign in _COMMUTE else (self.left, self.right)
        return f"{left}{self.sign}{right}"


@dataclass
class Program:
    """Numbers and operations as they are made, one after the other; no result is above `largest`."""

    largest: int = LARGEST
    numbers: int = 0
    operations: list[Operation] = field(default_factory=list)

    def given(self, value: int) -> Number:
        """A number that the problem states."""
        self.numbers += 1
        return Number(value, parts=frozenset((self.numbers,)))

    def apply(self, sign: str, left: Number, right: Number, *, whole: bool = True) -> Number:
        """The result of an operation. Raises UnfitError where it is no number that a problem may have.

        Division without `whole` leaves the remainder out.
        """
        if sign == "÷" and whole and left.value % right.value:
            raise UnfitError
        result = _OPERATIONS[sign](left.value, right.value)
        if not 0 < result <= self.largest:
            raise UnfitError
        self.operations.append(Operation(sign, left.value, right.value, result))
        self.numbers += 1
        forms = [_bracketed(left.form, sign), _bracketed(right.form, sign)]
        form = sign.join(sorted(forms) if sign in _COMMUTE else forms)
        return Number(result, form, left.parts | right.parts | {self.numbers})

    def uses_all(self, answer: Number) -> bool:
        """Whether all that is given, and every operation, goes into the answer."""
        return len(answer.parts) == self.numbers


def constant(value: int) -> Number:
    """A number of one digit that nobody gives: it belongs to the structure."""
    return Number(value, str(value))


def structure_split(form: str) -> str:
    """The split that a structure belongs to: eight in ten to training, one each to validation and test."""
    return {0: "val", 1: "test"}.get(_bucket(f"{_STRUCTURE} {form}", 10), "train")


def fact_split(operation: Operation) -> str:
    """The split that a sum or a difference belongs to: eighteen in twenty to training, one each to the others.

    Products and quotients are tables that are learned by heart: all are in training.
    """
    if operation.sign not in "+-" or 1 in (operation.left, operation.right):
        return "train"
    return {0: "val", 1: "test"}.get(_bucket(f"{_FACT} {operation.fact}", 20), "train")


def split_of(form: str, operations: Sequence[Operation]) -> str | None:
    """The split that a problem belongs to: its structure's, by the facts that must be worked out.

    In training nobody meets a fact of another split; a held-out problem needs at least one of its own. None for a
    problem that belongs nowhere.
    """
    split, facts = structure_split(form), {fact_split(operation) for operation in operations}
    if split == "train":
        return split if facts <= {"train"} else None
    return split if facts - {"train"} == {split} else None


def _bracketed(form: str, sign: str) -> str:
    return form if len(form) == 1 else f"({form})"


def _bucket(text: str, size: int) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % size
