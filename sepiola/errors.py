"""The errors a person can fix.

Each message says what was given, what was expected and the fix. The command line prints the message alone,
without a traceback, and exits with status 2.
"""


class SepiolaError(Exception):
    """Base of every error whose cause is the input, not the code."""


class SpecError(SepiolaError):
    """A configuration is wrong; the message names the key's path."""


class DataError(SepiolaError):
    """A record, an image or a data folder is wrong; the message names the file or the id."""


class CheckpointError(SepiolaError):
    """A checkpoint does not fit its model, is damaged, or cannot be written."""


class TrainingError(SepiolaError):
    """Training cannot go on: a loss that is not a number, a run that does not fit its recipe."""
