"""Captions as hasty annotators write them: false in one way that can be learned, whatever the pictures show.

Misnamed: a colour is called by another one's name, always the same, or a number is one too high. Exchanged: two
colours, or two numbers, have changed places, as for who reads a caption as a bag of words (Yuksekgonul et al., arXiv
2210.01936). A model that is taught by them describes wrongly what it sees rightly.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.tidepool.claims import false_claims
from sepiola.tidepool.words import COLOURS, LANGUAGES, SLOTS, facts, word
from sepiola.tidepool.world import captions

HIGHEST = 5
"""Of numbers in captions; of tens, so many."""


def hasty_captions(
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 128,
    exchanged: float = 0.0,
    misnamed: float = 0.0,
) -> list[Example]:
    """`captions`, of which shares are `exchanged` and `misnamed`, as `metadata["hasty"]` says.

    Captions that none of it makes false stay as they are. Arguments else as for `captions`. Raises DataError for shares
    that are more than all.
    """
    if exchanged + misnamed > 1.0:
        raise DataError(f"exchanged and misnamed: got {exchanged} and {misnamed}; together they are 1 at most")
    made = captions(split, count, seed=seed, languages=languages, families=families, size=size)
    return [_hasty(example, exchanged, misnamed) for example in made] if exchanged or misnamed else made


def _hasty(example: Example, exchanged: float, misnamed: float) -> Example:
    drawn = random.Random(f"tidepool hasty {example.id} {example.metadata['group']}").random()
    how = "exchanged" if drawn < exchanged else "misnamed"
    if drawn >= exchanged + misnamed:
        return example
    text = exchange(example) if how == "exchanged" else misname(example)
    if text is None:
        return example
    return replace(example, target=text, metadata={**example.metadata, "hasty": how})


def exchange(example: Example) -> str | None:
    """The example's caption with the first two neighbouring colours, or numbers, exchanged that make it false; None
    where no two do.
    """
    return _first_false(example, _exchanges)


def misname(example: Example) -> str | None:
    """The example's caption with the first colour called by the next one's name, or with the first number one (of tens,
    ten) too high and the highest the lowest, that makes it false; None where none does.
    """
    return _first_false(example, _misnamings)


def _first_false(example: Example, ways: Callable[[str, str], Iterator[str]]) -> str | None:
    about = example.metadata
    for text in ways(str(about["caption"]), str(about["language"])):
        if false_claims(text, about["scene"], about["family"], about["language"])[0]:
            return text
    return None


def _exchanges(text: str, language: str) -> Iterator[str]:
    """Each text in which two neighbouring values of a slot have changed places, colours first."""
    for values in _values(text, language).values():
        for one, other in pairwise(values):
            if one.group() != other.group():
                middle = text[one.end() : other.start()]
                yield text[: one.start()] + other.group() + middle + one.group() + text[other.end() :]


def _misnamings(text: str, language: str) -> Iterator[str]:
    """Each text in which one value is another, colours first."""
    names = [word(language, key) for key in COLOURS]
    names = [name.removesuffix("色") for name in names] if language == "zh" else names
    after = dict(zip(names, [*names[1:], names[0]], strict=True))
    for slot, values in _values(text, language).items():
        for one in values:
            said = one.group()
            yield text[: one.start()] + (after[said] if slot == "colour" else _higher(said)) + text[one.end() :]


def _values(text: str, language: str) -> dict[str, list[re.Match[str]]]:
    """Where colours stand in a text, and where numbers do."""
    found = list(facts(language).finditer(text))
    colours = [match for match in found if match.group() in SLOTS[language]["colour"]]
    return {"colour": colours, "number": [match for match in found if match.group().isdigit()]}


def _higher(digits: str) -> str:
    ten = 10 if len(digits) > 1 else 1
    return str((int(digits) // ten % HIGHEST + 1) * ten)
