"""Claims: what a text says about a Tidepool picture, checked against the scene's truth.

Multimodal-CoT (Zhang et al., 2023) finds that rationales written without eyes hallucinate: they state
things that the picture does not show. Here such statements are found by rule, so the share of false ones is
a number, not a sample judged by hand. Only statements phrased as Tidepool's own explanations and captions
are found; anything else is passed over, and no text is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.tidepool.family import Scene
from sepiola.tidepool.word_problems import false_sums
from sepiola.tidepool.words import slot_key, slot_pattern
from sepiola.tidepool.world import FAMILIES, family_named, language_named


@dataclass(frozen=True)
class Claim:
    """One statement about a picture: its name in the family, its slots' keys, and the words as they stood."""

    family: str
    name: str
    values: tuple[str, ...]
    text: str


def claims(text: str, language: str, family: str) -> list[Claim]:
    """All statements about the picture in `text`, in their order, each once.

    The mere mention of an object ("the red bar") counts as the claim that there is one, unless a fuller
    statement already speaks of it. Raises DataError for an unknown language or family; never for the text.
    """
    language_named(language)
    family_named(family)
    rest = _plain(text, language)
    placed: list[tuple[int, Claim]] = []
    for name, pattern, slots in _compiled(family, language):
        for match in pattern.finditer(rest):
            values = tuple(
                slot_key(language, slot, value) if value is not None else ""
                for slot, value in zip(slots, match.groups(), strict=True)
            )
            placed.append((match.start(), Claim(family, name, values, match.group())))
        rest = pattern.sub(lambda match: "\0" * len(match.group()), rest)
    return _without_repeats([claim for _, claim in sorted(placed, key=lambda item: item[0])])


def check(claim: Claim, scene: Scene) -> bool:
    """Whether the claim is true of `scene` (an example's `metadata["scene"]`)."""
    return family_named(claim.family).check(claim.name, claim.values, dict(scene))


def false_claims(text: str, scene: Scene, family: str, language: str) -> tuple[int, int]:
    """How many claims of a text are false of a scene, and how many it makes. A text that claims nothing has none."""
    made = claims(text, language, family)
    return sum(not check(claim, scene) for claim in made), len(made)


def hallucinated(example: Example, rationale: str) -> tuple[int, int]:
    """How many claims of `rationale` are false of the example's picture, and how many it makes.

    The claims of a word problem's chain are its sums. Raises DataError when the example is not one of Tidepool's.
    """
    metadata = example.metadata
    if "structure" in metadata:
        return false_sums(rationale)
    if metadata.get("family") not in FAMILIES or "scene" not in metadata:
        raise DataError(f"{example.id}: no scene to check claims against; expected an example made by Tidepool")
    return false_claims(rationale, metadata["scene"], metadata["family"], metadata["language"])


def _plain(text: str, language: str) -> str:
    """Lower case, spaces made one (in Chinese: none), punctuation of Chinese in one form."""
    text = text.lower().replace("\0", " ")
    if language == "zh":
        return re.sub(r"\s+", "", text).replace("℃", "°c").translate(str.maketrans(",;:!?", "，；：！？"))
    return re.sub(r"\s+", " ", text)


@lru_cache
def _compiled(family: str, language: str) -> tuple[tuple[str, re.Pattern[str], tuple[str, ...]], ...]:
    patterns = []
    for name, template in FAMILIES[family].statements[language]:
        slots = tuple(re.findall(r"\{(\w+)\}", template))
        pattern = re.sub(r"\{(\w+)\}", lambda slot: slot_pattern(language, slot.group(1)), template)
        patterns.append((name, re.compile(pattern, re.IGNORECASE | re.ASCII), slots))
    return tuple(patterns)


def _without_repeats(statements: list[Claim]) -> list[Claim]:
    stated = [claim.values for claim in statements if claim.name != "exists"]
    kept: dict[tuple[str, tuple[str, ...]], Claim] = {}
    for claim in statements:
        if claim.name == "exists" and any(set(claim.values) <= set(values) for values in stated):
            continue
        kept.setdefault((claim.name, claim.values), claim)
    return list(kept.values())
