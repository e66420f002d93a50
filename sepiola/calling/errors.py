"""The errors that a person can fix, as far as both runtimes have them, and how messages show what was given."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

SHOWN = 120  # characters


class SepiolaError(Exception):
    """Base of every error whose cause is the input, not the code. `status` is what the command line exits with."""

    status = 2


class SpecError(SepiolaError):
    """A configuration is wrong; the message names the key's path."""


class CallError(SepiolaError):
    """A call that does not fit its function: an unknown name, a missing argument, a value of another type."""


class _Short(reprlib.Repr):
    """`repr` of the first few members, two levels deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, SHOWN, SHOWN

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 200 else f"a number of about {x.bit_length() * 0.30103:.0f} digits"


_short = _Short()


def shown(value: object) -> str:
    """A value from outside as a message shows it: `repr`, cut short, however large or deep the value is."""
    text = _short.repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def brief(text: str, most: int = SHOWN) -> str:
    """A text from outside (a key, a path) as a message names it: on one line, and cut short."""
    plain = "".join(c if c.isprintable() else "�" for c in " ".join(text[: 2 * most].split()))
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def nearest(name: str, known: Iterable[str]) -> str:
    """The fix for a name that is not known: the nearest known one, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(brief(name), names, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
