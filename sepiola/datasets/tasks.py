"""Tasks on the phone as a dataset, made on the spot: requests of two to four calls, and such as need a picture.

They are Tidepool's phone requests of two kinds. What the phone is before them, and is to be after them, says
`sepiola.acting.phone.tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sepiola.data.example import Example
from sepiola.datasets.tidepool import Pixels
from sepiola.specs.values import Drawn, Names, Seed
from sepiola.tidepool.phone import requests
from sepiola.tidepool.words import LANGUAGES

KINDS = ("several", "picture")


def read_tasks(
    root: Path | None,
    split: str,
    *,
    count: Drawn = 600,
    seed: Seed = 0,
    languages: Names = LANGUAGES,
    size: Pixels = 64,
    kinds: Annotated[Sequence[str], Field(min_length=1)] = KINDS,
) -> list[Example]:
    """`count` requests, half of them of two to four calls and half of one call that a picture of `size` pixels decides;
    nothing is read from `root`. `kinds` are others of Tidepool's phone requests.
    """
    return requests(split, count, seed=seed, languages=languages, size=size, kinds=kinds)
