"""Dialogues of several datasets, with ratings that their own texts give: is a reply sensible, is it specific?

Both are proxies for what people would say (LaMDA, arXiv 2201.08239, asked crowds), and the names of the ways are kept
in `metadata["rated_by"]`:

- SENSIBLE 1 is the turn that did follow, whatever else is known of it; 0 a turn of another dialogue (`elsewhere`), or
  one of the same dialogue at a wrong place (`misplaced`: what was said before, the last turn too, or what follows
  later).
- SPECIFIC 1 is the turn that did follow, where it says something and stands in the data once; 0 a turn that people give
  to anything (`generic`): from a list, or one that follows several contexts.

Ratings that a dataset has itself (`diasafety`'s SAFE) stay. Splits are the datasets' own, and wrong turns come from the
same split, so that no turn of `test` is seen in training.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from sepiola.data.example import Example
from sepiola.datasets.records import existing_folder, one_of
from sepiola.errors import DataError
from sepiola.specs.base import Plain, Spec
from sepiola.specs.values import Name, Seed

GENERIC = {
    "en": ("I don't know.", "Okay.", "Yeah.", "Really?", "That's nice.", "Me too.", "I see.", "Haha.", "Thanks!"),
    "zh": ("嗯嗯", "哈哈哈", "不知道", "好的", "是吗", "我也是", "真的吗", "谢谢", "呵呵"),
}
"""What is said to anything."""
LEAST = {"en": 20, "zh": 6}
"""Letters of a turn that says something."""
Proxy = Literal["SENSIBLE", "SPECIFIC"]


class Source(Spec):
    """One dataset among several; its `folder` lies in the root, and `split` gives its own names of splits. `harmful`
    says of all its requests whether they are to be refused, for rewards by a rubric.
    """

    reader: Name
    folder: str = "."
    split: dict[str, Name] = Field(default_factory=dict)
    count: PositiveInt | None = None
    harmful: bool | None = None
    options: Plain = Field(default_factory=dict)


SOURCES = (Source(reader="diasafety", folder="diasafety"), Source(reader="cdial", folder="cdial_gpt_toy"))
SPLITS = ["train", "val", "test"]


def read_dialogues(
    root: Path,
    split: str,
    *,
    sources: Annotated[Sequence[Source], Field(min_length=1)] = SOURCES,
    rate: Sequence[Proxy] = ("SENSIBLE", "SPECIFIC"),
    seed: Seed = 0,
) -> list[Example]:
    """The dialogues of all sources, in their order, and the wrong turns that `rate` asks for behind each of them.

    Raises DataError for a record without a context or a turn, and as the sources' readers do.
    """
    from sepiola.datasets import read  # it lists this reader too

    root = existing_folder(root, "the folders of the sources")
    one_of(split, SPLITS, "dialogues")
    examples: list[Example] = []
    for source in sources:
        name = source.split.get(split, split)
        found = read(source.reader, root / source.folder, name, **source.options)[: source.count]
        known = {} if source.harmful is None else {"harmful": source.harmful}
        examples += [replace(example, metadata={**example.metadata, **known}) for example in found]
    for example in examples:
        if not example.messages or not example.target:
            raise DataError(f"{example.id}: expected a dialogue, turns and the one that follows; got one of them")
    rng = random.Random(f"{seed} {split}")
    for name in rate:
        examples = _PROXIES[name](examples, rng)
    return examples


def _sensible(examples: Sequence[Example], rng: random.Random) -> list[Example]:
    """Every turn as sensible that nobody has rated so, and behind it one that never followed its context."""
    followed: dict[str, set[str]] = defaultdict(set)  # what did follow a context: several may well
    dialogues: dict[str, set[str]] = defaultdict(set)
    pools: dict[str, list[str]] = defaultdict(list)
    for example in filter(_follows, examples):
        followed[example.prompt].add(example.target)
        dialogues[_dialogue(example)].update(message.text for message in example.messages)
        dialogues[_dialogue(example)].add(example.target)
        pools[_language(example)].append(example.target)
    rated: list[Example] = []
    for example in examples:
        if not _follows(example):
            rated.append(example)
            continue
        rated.append(_rated(example, "SENSIBLE", 1, "followed"))
        right, others = followed[example.prompt], pools[_language(example)]
        here = sorted(dialogues[_dialogue(example)] - right)
        if here and rng.random() < 0.5:
            rated.append(_wrong(example, here[rng.randrange(len(here))], "SENSIBLE", "misplaced"))
        elif (other := others[rng.randrange(len(others))]) not in right:
            rated.append(_wrong(example, other, "SENSIBLE", "elsewhere"))
    return rated


def _specific(examples: Sequence[Example], rng: random.Random) -> list[Example]:
    """Turns that say something as specific, and behind each one that is said to anything."""
    followed: dict[str, Counter[str]] = defaultdict(Counter)
    for example in filter(_true, examples):
        followed[_language(example)][example.target] += 1
    generic = {
        language: sorted({text for text, times in counts.items() if times > 2} | {*GENERIC.get(language, ())})
        for language, counts in followed.items()
    }
    rated: list[Example] = []
    for example in examples:
        language = _language(example)
        once = _true(example) and followed[language][example.target] == 1 and language in LEAST
        if not once or len(example.target) < LEAST[language] or example.target in generic[language]:
            rated.append(example)
            continue
        rated.append(_rated(example, "SPECIFIC", 1, "says something"))
        said = generic[language]
        rated.append(_wrong(example, said[rng.randrange(len(said))], "SPECIFIC", "generic"))
    return rated


_PROXIES = {"SENSIBLE": _sensible, "SPECIFIC": _specific}


def _follows(example: Example) -> bool:
    """Whether it is a turn of the data of which nobody says if it is sensible."""
    return "SENSIBLE" not in (example.metadata.get("ratings") or {})


def _true(example: Example) -> bool:
    """Whether it is a turn that did follow, as far as is known."""
    return bool((example.metadata.get("ratings") or {}).get("SENSIBLE", 1) == 1)


def _rated(example: Example, name: str, value: int, way: str) -> Example:
    ratings = {**(example.metadata.get("ratings") or {}), name: value}
    ways: Mapping[str, str] = {**(example.metadata.get("rated_by") or {}), name: way}
    return replace(example, metadata={**example.metadata, "ratings": ratings, "rated_by": ways})


def _wrong(example: Example, text: str, name: str, way: str) -> Example:
    """Another turn in the place of the one that followed, of which one thing is known: that it is wrong."""
    bare = {key: value for key, value in example.metadata.items() if key not in ("ratings", "rated_by")}
    return _rated(replace(example, id=f"{example.id}-{way}", target=text, metadata=bare), name, 0, way)


def _dialogue(example: Example) -> str:
    """The dialogue that it is a turn of."""
    return str(example.metadata.get("dialogue") or example.metadata.get("group") or example.id)


def _language(example: Example) -> str:
    return str(example.metadata.get("language", "en"))
