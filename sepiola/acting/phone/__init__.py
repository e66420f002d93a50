"""A simulated phone: its state and the ten functions that act on it."""

from __future__ import annotations

from sepiola.acting.phone.state import Phone

__all__ = ["Phone"]
