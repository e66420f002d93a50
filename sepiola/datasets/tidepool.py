"""Tidepool as a dataset: questions, pictures with their captions, or episodes of made-up words, made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.specs.values import Drawn, Names, Seed
from sepiola.tidepool import captions, episodes, generate
from sepiola.tidepool.canvas import UNITS
from sepiola.tidepool.words import LANGUAGES

TASKS: dict[str, Callable[..., list[Example]]] = {"questions": generate, "captions": captions, "episodes": episodes}

Pixels = Annotated[int, Field(ge=UNITS, le=2048)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


def read_tidepool(
    root: Path | None,
    split: str,
    *,
    count: Drawn = 1_000,
    seed: Seed = 0,
    task: str = "questions",
    languages: Names = LANGUAGES,
    families: Annotated[Sequence[str], Field(min_length=1)] | None = None,
    size: Pixels = 128,
    length: Annotated[int, Field(ge=1, le=1000)] | None = None,
    scenes: Drawn | None = None,
    described: Share | None = None,
    named: Share | None = None,
    aspects: Names | None = None,
) -> list[Example]:
    """`count` Tidepool examples; nothing is read from `root`. `task` is `questions`, `captions` or `episodes`, of which
    there are `count`; a family that is named twice has two turns. The last five options are of episodes
    (`sepiola.tidepool.binding`).
    """
    if task not in TASKS:
        raise DataError(f"Tidepool has no task '{task}'; known: {', '.join(TASKS)}")
    given = {"length": length, "scenes": scenes, "described": described, "named": named, "aspects": aspects}
    given_options = {name: value for name, value in given.items() if value is not None}
    if given_options and task != "episodes":
        raise DataError(f"{', '.join(given_options)}: options of the task 'episodes'; the task is '{task}'")
    return TASKS[task](split, count, seed=seed, languages=languages, families=families, size=size, **given_options)
