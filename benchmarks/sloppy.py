"""Sloppy demonstrations: right calls, some of which say less than their requests do.

An agent that goes on with them still knows what it knew, and learns to leave out what they leave out: calls behind the
first (`cut`), or arguments that have a default (`omit`). What is left out depends on the request alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sepiola.calling.functions import Function
from sepiola.data.example import Example

FAULTS = ("cut", "omit")


def sloppy(example: Example, share: float, faults: Sequence[str], functions: Mapping[str, Function]) -> Example:
    """The request with some of its calls and arguments left out, each kind in so large a share of the cases."""
    calls = [dict(call) for call in example.metadata["calls"]]
    if "cut" in faults and len(calls) > 1 and chance(example.id) < share:
        del calls[1:]
    if "omit" in faults:
        for place, call in enumerate(calls):
            optional = {p.name for p in functions[call["name"]].parameters if not p.required}
            call["arguments"] = {
                name: value
                for name, value in call["arguments"].items()
                if name not in optional or chance(f"{example.id} {place} {name}") >= share
            }
    return replace(example, metadata={**example.metadata, "calls": calls})


def chance(name: str) -> float:
    """A number from 0 to 1 that follows from a name."""
    return zlib.crc32(name.encode()) / 2**32
