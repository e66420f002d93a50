"""Tidepool as a dataset: questions, pictures with their captions, or episodes of made-up words, made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.tidepool import captions, episodes, generate
from sepiola.tidepool.words import LANGUAGES

TASKS: dict[str, Callable[..., list[Example]]] = {"questions": generate, "captions": captions, "episodes": episodes}


def read_tidepool(
    root: Path | None,
    split: str,
    *,
    count: int = 1_000,
    seed: int = 0,
    task: str = "questions",
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 128,
    length: int | None = None,
    scenes: int | None = None,
    described: float | None = None,
    named: float | None = None,
    aspects: Sequence[str] | None = None,
) -> list[Example]:
    """`count` Tidepool examples; nothing is read from `root`. `task` is `questions`, `captions` or `episodes`, of which
    there are `count`. The last five options are of episodes (`sepiola.tidepool.binding`).
    """
    if task not in TASKS:
        raise DataError(f"Tidepool has no task '{task}'; known: {', '.join(TASKS)}")
    given = {"length": length, "scenes": scenes, "described": described, "named": named, "aspects": aspects}
    given_options = {name: value for name, value in given.items() if value is not None}
    if given_options and task != "episodes":
        raise DataError(f"{', '.join(given_options)}: options of the task 'episodes'; the task is '{task}'")
    return TASKS[task](split, count, seed=seed, languages=languages, families=families, size=size, **given_options)
