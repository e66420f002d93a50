"""Tidepool as a dataset: questions, or pictures with their captions, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sepiola.data.example import Example
from sepiola.data.tidepool import captions, generate
from sepiola.data.tidepool.words import LANGUAGES
from sepiola.errors import DataError

TASKS = {"questions": generate, "captions": captions}


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
) -> list[Example]:
    """`count` Tidepool examples; nothing is read from `root`. `task` is `questions` or `captions`."""
    if task not in TASKS:
        raise DataError(f"Tidepool has no task '{task}'; known: {', '.join(TASKS)}")
    return TASKS[task](split, count, seed=seed, languages=languages, families=families, size=size)
