"""The fourth step of MiniGPT-4's curation (arXiv 2304.10592, section 3.2): what is no good text, and what does not fit
its picture, is left out for a stated reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from sepiola.data.image import ImageRef
from sepiola.data.language import language_of
from sepiola.evaluation.metrics.fluency import is_fragment, repeats
from sepiola.evaluation.metrics.rationales import words
from sepiola.generation.matcher import BATCH, Matcher

REASONS = {
    "picture": "the picture cannot be read",
    "characters": "meaningless characters",
    "language": "not in the language that was asked for",
    "repetition": "repeats itself",
    "fragment": "no whole sentence, or cut by the limit on tokens",
    "short": "too short",
    "long": "too long",
    "agreement": "agrees less with its picture than others",
}
# What a decoder gives for broken bytes; control characters; a sign other than a dot three times in a row.
_MEANINGLESS = re.compile(r"[\ufffd\x00-\x08\x0b-\x1f\x7f]|([^\w\s.…])\1\1")


def fault_of(text: str, language: str, *, cut: bool, shortest: int, longest: int) -> str | None:
    """Why a text is no good, as a key of REASONS; None when it is. Lengths are in words, in Chinese characters."""
    length = len(words(text))
    faults = {
        "characters": _MEANINGLESS.search(text) is not None,
        "language": length > 0 and language_of(text) != language,
        "repetition": repeats(text),
        "fragment": is_fragment(text, cut=cut),
        "short": length < shortest,
        "long": length > longest,
    }
    return next((reason for reason, holds in faults.items() if holds), None)


def agreement(matcher: Matcher, images: Sequence[ImageRef], texts: Sequence[str]) -> list[float]:
    """How well each text goes with its own picture: the dual encoder's logits."""
    scores: list[float] = []
    for start in range(0, len(texts), BATCH):
        some = matcher.scores(images[start : start + BATCH], texts[start : start + BATCH])
        scores += some.diagonal().tolist()
    return scores


def disagreeing(
    scores: Sequence[float], languages: Sequence[str], *, keep: float | None, threshold: float | None
) -> set[int]:
    """The places of the texts to leave out: all but the best share `keep` of each language, and those that score under
    `threshold`.

    A dual encoder scores one language higher than another, so a share of all would be a choice between languages.
    """
    out = {place for place, score in enumerate(scores) if threshold is not None and score < threshold}
    if keep is not None:
        for language in set(languages):
            ranked = sorted((p for p, other in enumerate(languages) if other == language), key=lambda p: -scores[p])
            out.update(ranked[math.ceil(keep * len(ranked)) :])
    return out
