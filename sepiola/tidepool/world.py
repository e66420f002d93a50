"""Tidepool: a seeded, procedural, bilingual world of pictures and questions that need no download.

Each example is drawn from its own random stream, so any index of any split can be made alone and comes out
the same on every machine. The split is a property of the scene: a hash of all that its picture shows (style
left out) sends it to training, validation or test, whatever the seed, the question or the language.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.tidepool.canvas import UNITS, Canvas
from sepiola.tidepool.charts import Charts
from sepiola.tidepool.counting import Counting
from sepiola.tidepool.family import Family, Query, Scene
from sepiola.tidepool.food_webs import FoodWebs
from sepiola.tidepool.magnets import Magnets
from sepiola.tidepool.maps import Maps
from sepiola.tidepool.objects import Objects
from sepiola.tidepool.relations import Relations
from sepiola.tidepool.springs import Springs
from sepiola.tidepool.thermometers import Thermometers
from sepiola.tidepool.words import LANGUAGES

SPLITS = ("train", "val", "test")
FAMILIES: dict[str, Family] = {
    "magnets": Magnets(),
    "springs": Springs(),
    "thermometers": Thermometers(),
    "maps": Maps(),
    "food webs": FoodWebs(),
    "objects": Objects(),
    "counting": Counting(),
    "charts": Charts(),
    "relations": Relations(),
}
CAPTION_REQUEST = {"en": "Describe the picture.", "zh": "描述这幅图。"}


def generate(
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 128,
) -> list[Example]:
    """`count` questions with their pictures, `size` × `size` pixels; families and languages take turns.

    The target is the right choice's text; `metadata` holds the scene's truth, its group (a hash of it),
    the caption, and ScienceQA's subject, grade, topic, category and skill. Raises DataError for an unknown
    split, language or family, a negative count, or a size below 64.
    """
    return _make("question", split, count, seed, languages, families, size)


def captions(
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 128,
) -> list[Example]:
    """`count` pictures whose target is the caption that states their truth. Arguments as for `generate`."""
    return _make("caption", split, count, seed, languages, families, size)


def split_of(group: str) -> str:
    """The split that a scene belongs to: eight in ten to training, one each to validation and test."""
    return {0: "val", 1: "test"}.get(int(group[:8], 16) % 10, "train")


def group_of(family: str, scene: Scene) -> str:
    """The scene's identity: a hash of its truth and layout as sorted JSON."""
    truth = json.dumps({"family": family, "scene": scene}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(truth.encode()).hexdigest()[:16]


def checked_arguments(
    split: str,
    count: int,
    languages: Sequence[str],
    families: Sequence[str] | None,
    size: int,
    known: Sequence[str],
    family: str,
) -> tuple[list[str], list[str]]:
    """The languages, and the families among those that are `known`: all of them unless given. `family` is what one is.

    Raises DataError for an unknown split, language or family, a negative count, or a size that is too small.
    """
    if split not in SPLITS:
        raise DataError(f"unknown Tidepool split '{split}'; known: {', '.join(SPLITS)}")
    if count < 0:
        raise DataError(f"cannot make {count} examples; give a count of 0 or more")
    if size < UNITS:
        raise DataError(f"size {size} is too small to be seen; give {UNITS} pixels or more")
    spoken = [language_named(name) for name in _names("languages", languages)]
    names = _names("families", list(known) if families is None else families)
    for name in names:
        if name not in known:
            raise DataError(f"unknown {family} '{name}'; known: {', '.join(known)}")
    return spoken, names


def family_named(name: str) -> Family:
    """The family of this name. Raises DataError when there is none."""
    if name not in FAMILIES:
        raise DataError(f"unknown Tidepool family '{name}'; known: {', '.join(FAMILIES)}")
    return FAMILIES[name]


def language_named(name: str) -> str:
    """The language's code itself. Raises DataError when Tidepool does not speak it."""
    if name not in LANGUAGES:
        raise DataError(f"unknown Tidepool language '{name}'; known: {', '.join(LANGUAGES)}")
    return name


def _make(
    task: str,
    split: str,
    count: int,
    seed: int,
    languages: Sequence[str],
    families: Sequence[str] | None,
    size: int,
) -> list[Example]:
    known_languages, names = checked_arguments(
        split, count, languages, families, size, tuple(FAMILIES), "Tidepool family"
    )
    known_families = [FAMILIES[name] for name in names]
    made = []
    for index in range(count):
        turn, place = divmod(index, len(known_families))
        language = known_languages[(turn + place) % len(known_languages)]
        made.append(_example(task, split, index, seed, known_families[place], language, size))
    return made


def _names(argument: str, names: Sequence[str]) -> list[str]:
    if isinstance(names, str) or not names:
        raise DataError(f"{argument}: expected a list of one or more names, got {names!r}")
    return list(names)


def _example(task: str, split: str, index: int, seed: int, family: Family, language: str, size: int) -> Example:
    rng = random.Random(f"tidepool {seed} {split} {index} {family.name}")
    kind = rng.choice(family.kinds)
    while True:
        scene = family.sample(rng, kind)
        group = group_of(family.name, scene)
        if split_of(group) == split:
            break
    query = family.ask(scene, kind, rng)
    canvas = Canvas(size, rng)
    family.draw(canvas, scene)
    picture = ImageRef(data=canvas.png())
    caption = family.caption(scene, language)
    metadata: dict[str, object] = {
        "split": split,
        "language": language,
        "family": family.name,
        "kind": kind,
        "group": group,
        "scene": scene,
        "caption": caption,
        "objects": family.objects(scene),
        "subject": family.subject,
        "grade": family.grade,
        "topic": family.topic,
        "category": family.category,
        "skill": family.skill,
    }
    name = f"{split}-{index:06d}-{language}"
    if task == "caption":
        request = Message("user", (picture, CAPTION_REQUEST[language]))
        return Example(f"tidepool-caption-{name}", (request,), caption, metadata=metadata)
    return _asked(f"tidepool-{name}", family, scene, query, language, picture, metadata)


def _asked(
    name: str,
    family: Family,
    scene: Scene,
    query: Query,
    language: str,
    picture: ImageRef,
    metadata: dict[str, object],
) -> Example:
    question = family.question(scene, query, language)
    options = "\n".join(f"({letter}) {choice}" for letter, choice in zip("ABCDE", question.choices, strict=False))
    message = Message("user", (picture, f"{question.hint}\n{question.text}\n{options}"))
    return Example(name, (message,), question.choices[query.answer], question, metadata)
