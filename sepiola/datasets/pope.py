"""POPE (Li et al., 2023, arXiv 2305.10355): is there such a thing in the picture? Asked where the truth is known.

The truth is Tidepool's scene, or the boxes of `coco_mini`. For each picture some things that it shows are asked about,
and as many that it lacks, in three settings: `random` draws these from all things, `popular` takes those that most
pictures show, `adversarial` those that stand most often beside the things of this picture. How often is counted over
the pictures of the split. A model that names what usually is there, not what it sees, says yes to the last two.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.datasets import coco_names
from sepiola.datasets.coco_mini import coco_pictures
from sepiola.errors import DataError
from sepiola.specs.values import Drawn, Names, Seed
from sepiola.tidepool import captions as tidepool_pictures
from sepiola.tidepool.canvas import UNITS
from sepiola.tidepool.things import may_be_asked, name, things
from sepiola.tidepool.words import LANGUAGES

SETTINGS = ("random", "popular", "adversarial")
ANSWERS = {"en": ("yes", "no"), "zh": ("有", "没有")}
_ASKED = {"en": "Is there {} in the picture?", "zh": "图中有{}吗？"}


@dataclass(frozen=True)
class Shown:
    """A picture with the things that it shows; `lacks` tells whether an absent one may be asked about."""

    group: str
    image: ImageRef
    things: frozenset[str]
    languages: Sequence[str]
    lacks: Callable[[str], bool] = lambda thing: True


def read_pope(
    root: Path | None,
    split: str,
    *,
    settings: Names = SETTINGS,
    languages: Names = LANGUAGES,
    most: Annotated[int, Field(ge=1, le=1000)] = 3,
    pictures: Drawn = 300,
    size: Annotated[int, Field(ge=UNITS, le=2048)] = 128,
    seed: Seed = 0,
) -> list[Example]:
    """Questions on the boxes of `coco_mini` in `root`, or, without it, on `pictures` Tidepool scenes of `size` pixels.

    Each picture is asked about at most `most` things that it shows, and as many that it lacks, in each setting: half
    of the answers are yes. Choices are yes and no, in Chinese 有 and 没有; metadata holds `setting` and `thing`. Raises
    DataError for an unknown split, setting or language.
    """
    for kind, given, known in (("setting", settings, SETTINGS), ("language", languages, LANGUAGES)):
        if isinstance(given, str) or not given or not set(given) <= set(known):
            raise DataError(f"POPE: {kind}s: expected a list of {', '.join(known)}; got {given!r}")
    if root is None:
        shown = list(_tidepool(split, pictures, languages, size, seed))
    else:
        shown = list(_coco(root, split, languages))
    named = name if root is None else _coco_name
    common = Counter(thing for picture in shown for thing in picture.things)
    together = {thing: Counter[str]() for thing in common}
    for picture in shown:
        for thing in picture.things:
            together[thing].update(picture.things)
    examples = []
    for picture in shown:
        rng = random.Random(f"pope {seed} {picture.group}")
        absent = [thing for thing in sorted(common) if thing not in picture.things and picture.lacks(thing)]
        beside: Counter[str] = sum((together[thing] for thing in sorted(picture.things)), Counter())
        present = rng.sample(sorted(picture.things), min(most, len(picture.things), len(absent)))
        lacking = {
            "random": rng.sample(absent, len(present)),
            "popular": _by_count(absent, common),
            "adversarial": _by_count(_by_count(absent, common), beside),
        }
        examples += [
            _question(picture, split, language, setting, number, thing, named(thing, language), there)
            for language in picture.languages
            for setting in settings
            for number, pair in enumerate(zip(present, lacking[setting], strict=False))
            for thing, there in zip(pair, (True, False), strict=True)
        ]
    return examples


def _by_count(names: Sequence[str], counts: Counter[str]) -> list[str]:
    """The names by how often they count, most often first, otherwise in their order."""
    return sorted(names, key=counts.__getitem__, reverse=True)


def _question(
    picture: Shown, split: str, language: str, setting: str, number: int, thing: str, noun: str, there: bool
) -> Example:
    choices, answer = ANSWERS[language], 0 if there else 1
    text = _ASKED[language].format(_with_article(noun) if language == "en" else noun)
    identity = f"pope-{picture.group}-{language}-{setting}-{number}-{'yes' if there else 'no'}"
    metadata = {"split": split, "language": language, "group": picture.group, "setting": setting, "thing": thing}
    question = Question(text, choices, answer, hint="")
    return Example(identity, (Message("user", (picture.image, text)),), choices[answer], question, metadata)


def _tidepool(split: str, count: int, languages: Sequence[str], size: int, seed: int) -> Iterator[Shown]:
    for number, example in enumerate(tidepool_pictures(split, count, seed=seed, languages=languages, size=size)):
        family = example.metadata["family"]

        def lacks(thing: str, family: str = family) -> bool:
            return may_be_asked(family, thing)

        objects = things(family, example.metadata["scene"])
        group = f"{example.metadata['group']}-{number}"
        yield Shown(group, example.images[0], objects, (example.metadata["language"],), lacks)


def _coco(root: Path, split: str, languages: Sequence[str]) -> Iterator[Shown]:
    for picture in coco_pictures(root, split):
        if picture.image is not None and "objects" in picture.metadata:
            objects = frozenset(item["kind"] for item in picture.metadata["objects"])
            yield Shown(picture.group, picture.image, objects, languages)


def _coco_name(thing: str, language: str) -> str:
    names = coco_names.CHINESE if language == "zh" else coco_names.ENGLISH
    return names.get(thing, thing)


def _with_article(noun: str) -> str:
    if noun in coco_names.ENGLISH.values():
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
