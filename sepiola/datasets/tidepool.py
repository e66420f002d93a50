"""Tidepool as a dataset, made on the spot: questions, captions, preferences, episodes, phone requests, problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.specs.values import Drawn, Names, Seed
from sepiola.tidepool import episodes, generate, hasty_captions, preferences
from sepiola.tidepool.canvas import UNITS
from sepiola.tidepool.phone import album, requests
from sepiola.tidepool.word_problems import word_problems
from sepiola.tidepool.words import LANGUAGES

TASKS: dict[str, Callable[..., list[Example]]] = {
    "questions": generate,
    "captions": hasty_captions,
    "episodes": episodes,
    "phone": requests,
    "album": album,
    "preferences": preferences,
    "word-problems": word_problems,
}

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
    kinds: Annotated[Sequence[str], Field(min_length=1)] | None = None,
    completions: Annotated[int, Field(ge=2, le=9)] | None = None,
    texts: Names | None = None,
    choices: Annotated[int, Field(ge=2, le=9)] | None = None,
    sums: Share | None = None,
    exchanged: Share | None = None,
    misnamed: Share | None = None,
) -> list[Example]:
    """`count` Tidepool examples; nothing is read from `root`.

    `task` is one of TASKS; of `episodes` there are `count`. A family that is named twice has two turns. `length` to
    `aspects` are options of episodes (`sepiola.tidepool.binding`). In `phone`, families are functions, and `kinds` are
    kinds of requests; in `album`, families are kinds of the phone's pictures (`sepiola.tidepool.phone`). `completions`
    and `texts` are options of preferences (`sepiola.tidepool.preferences`), `exchanged` and `misnamed` of captions
    (`sepiola.tidepool.hasty`). In `word-problems`, which have no pictures, families are what is asked, and
    `choices` are so many numbers to choose from, and `sums` is the share of problems that are bare sums
    (`sepiola.tidepool.word_problems`).
    """
    if task not in TASKS:
        raise DataError(f"Tidepool has no task '{task}'; known: {', '.join(TASKS)}")
    of_task: dict[str, dict[str, object]] = {
        "episodes": {"length": length, "scenes": scenes, "described": described, "named": named, "aspects": aspects},
        "phone": {"kinds": kinds},
        "preferences": {"completions": completions, "texts": texts},
        "word-problems": {"choices": choices, "sums": sums},
        "captions": {"exchanged": exchanged, "misnamed": misnamed},
    }
    for other, options in of_task.items():
        given = [name for name, value in options.items() if value is not None]
        if given and task != other:
            raise DataError(f"{', '.join(given)}: options of the task '{other}'; the task is '{task}'")
    chosen = {name: value for name, value in of_task.get(task, {}).items() if value is not None}
    return TASKS[task](split, count, seed=seed, languages=languages, families=families, size=size, **chosen)
