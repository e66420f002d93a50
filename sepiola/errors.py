"""The errors a person can fix.

Each message says what was given, what was expected and the fix. The command line prints the message alone,
without a traceback, and exits with status 2.
"""

from __future__ import annotations

import reprlib

SHOWN = 120  # characters


class SepiolaError(Exception):
    """Base of every error whose cause is the input, not the code. `status` is what the command line exits with."""

    status = 2


class SpecError(SepiolaError):
    """A configuration is wrong; the message names the key's path."""


class DataError(SepiolaError):
    """A record, an image or a data folder is wrong; the message names the file or the id."""


class CheckpointError(SepiolaError):
    """A checkpoint does not fit its model, is damaged, or cannot be written."""


class TrainingError(SepiolaError):
    """Training cannot go on: a loss that is not a number, a run that does not fit its recipe."""


class CallError(SepiolaError):
    """A call that does not fit its function: an unknown name, a missing argument, a value of another type."""


class ActionError(SepiolaError):
    """A well-formed call that the phone's state does not allow: an unknown contact, a full bin, a day that is over."""


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
