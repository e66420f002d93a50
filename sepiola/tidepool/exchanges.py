"""Captions that say the right words of the wrong things: two colours, or two numbers, have changed places.

So do vision-language models that read a caption as a bag of words (Yuksekgonul et al., arXiv 2210.01936). Such captions
stand for hasty annotators: a model that is taught by them describes what it sees wrongly, whatever it knows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from sepiola.data.example import Example
from sepiola.tidepool.claims import false_claims
from sepiola.tidepool.words import LANGUAGES, SLOTS, facts
from sepiola.tidepool.world import captions

SLOTS_OF_VALUES = ("colour", "number")


def hasty_captions(
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 128,
    exchanged: float = 0.0,
) -> list[Example]:
    """`captions`, of which that share has two values exchanged (`metadata["exchanged"]`), where that makes them false.

    A caption stays as long as it was, to the letter. Arguments else as for `captions`.
    """
    made = captions(split, count, seed=seed, languages=languages, families=families, size=size)
    return [_hasty(example, exchanged) for example in made] if exchanged else made


def _hasty(example: Example, share: float) -> Example:
    chosen = random.Random(f"tidepool exchanges {example.id} {example.metadata['group']}").random() < share
    text = exchange(example) if chosen else None
    if text is None:
        return example
    return replace(example, target=text, metadata={**example.metadata, "exchanged": True})


def exchange(example: Example) -> str | None:
    """The example's caption with the first two neighbouring colours, or numbers, exchanged that make it false; None
    where no two do.
    """
    about = example.metadata
    for text in _exchanges(str(about["caption"]), str(about["language"])):
        if false_claims(text, about["scene"], about["family"], about["language"])[0]:
            return text
    return None


def _exchanges(text: str, language: str) -> Iterator[str]:
    """Each text in which two neighbouring values of a slot have changed places, colours first."""
    found = list(facts(language).finditer(text))
    for slot in SLOTS_OF_VALUES:
        known = SLOTS[language][slot]
        values = [m for m in found if m.group() in known or (slot == "number" and m.group().isdigit())]
        for one, other in pairwise(values):
            if one.group() != other.group():
                middle = text[one.end() : other.start()]
                yield text[: one.start()] + other.group() + middle + one.group() + text[other.end() :]
