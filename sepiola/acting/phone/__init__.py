"""A simulated phone: its state, the ten functions that act on it, and tasks of several calls."""

from __future__ import annotations

from functools import cache

from sepiola.acting.functions import functions_of
from sepiola.acting.phone import apis
from sepiola.acting.phone.phrasings import PHRASINGS, phrased
from sepiola.acting.phone.state import Phone
from sepiola.calling.functions import Function

__all__ = ["Phone", "functions"]


def functions() -> list[Function]:
    """The ten functions of the phone, in the order of their tokens."""
    return list(_functions())


@cache
def _functions() -> tuple[Function, ...]:
    calls = (
        apis.send_email,
        apis.send_text_message,
        apis.google_search,
        apis.amazon_shopping,
        apis.smart_recycling,
        apis.lost_and_found,
        apis.interior_design,
        apis.instacart_shopping,
        apis.doordash_delivery,
        apis.animal_care,
    )
    return phrased(functions_of(calls), PHRASINGS)
