"""The errors a person can fix.

Each message says what was given, what was expected and the fix. The command line prints the message alone,
without a traceback, and exits with status 2.
"""

from __future__ import annotations

from sepiola.calling.errors import SHOWN, CallError, SepiolaError, SpecError, brief, nearest, shown

__all__ = [
    "SHOWN",
    "ActionError",
    "CallError",
    "CheckpointError",
    "DataError",
    "SepiolaError",
    "SpecError",
    "TrainingError",
    "brief",
    "nearest",
    "shown",
]


class DataError(SepiolaError):
    """A record, an image or a data folder is wrong; the message names the file or the id."""


class CheckpointError(SepiolaError):
    """A checkpoint does not fit its model, is damaged, or cannot be written."""


class TrainingError(SepiolaError):
    """Training cannot go on: a loss that is not a number, a run that does not fit its recipe."""


class ActionError(SepiolaError):
    """A well-formed call that the phone's state does not allow: an unknown contact, a full bin, a day that is over."""
