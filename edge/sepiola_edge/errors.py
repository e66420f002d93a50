"""The errors that a person can fix: each message says what was given, what was expected, and the fix."""

from __future__ import annotations


class EdgeError(ValueError):
    """A folder, a prompt or a setting is wrong."""
