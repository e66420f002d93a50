"""Preferences as an annotator gives them who sees what is true: captions of a picture ranked by their claims.

A captioner's own samples make the comparisons that teach a reward model what its policy can get wrong (InstructGPT,
arXiv 2203.02155, section 3.2; Anthropic's fresh preferences of newer policies, 2204.05862). Captions of which two
values have changed places teach it what belongs to which.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from sepiola.data.example import Example
from sepiola.data.preferences import Completion, Span, preference
from sepiola.tidepool.claims import false_claims
from sepiola.tidepool.hasty import exchange
from sepiola.tidepool.words import facts


def annotated(example: Example, texts: Iterable[str]) -> Example | None:
    """The texts as completions of a picture's example, each worth its true claims less its false ones: saying less is
    no better than saying what is true. None where no text is better than another.

    `corrected` are the words in which a text parts from the true caption, and of that those which some text lacks.
    """
    said = list(dict.fromkeys(text for text in texts if text.strip()))
    scores = [worth(example, text) for text in said]
    if len({*scores}) < 2:
        return None
    true = str(example.metadata["caption"])
    language = str(example.metadata["language"])
    parted = {text: apart(text, true, language) for text in said}
    parted[true] = sorted({span for text in said if text != true for span in apart(true, text, language)})
    completions = [Completion(text, score, tuple(parted[text])) for text, score in zip(said, scores, strict=True)]
    return preference(f"{example.id}-annotated", example.messages, completions, dict(example.metadata))


def worth(example: Example, text: str) -> float:
    """How many of a caption's claims are true of the example's picture, less those that are false."""
    about = example.metadata
    false, every = false_claims(text, about["scene"], about["family"], about["language"])
    return float(every - 2 * false)


def exchanged_pairs(examples: Sequence[Example]) -> list[Example]:
    """Of each picture the true caption, and the same with two values that have changed places; those without two that
    differ are left out.
    """
    found = []
    for example in examples:
        other = exchange(example)
        pair = None if other is None else annotated(example, [str(example.metadata["caption"]), other])
        found += [] if pair is None else [pair]
    return found


def apart(text: str, other: str, language: str) -> list[Span]:
    """Where words of a text stand that the other has not at their places: words that state facts, and what is around
    them.
    """
    pieces = [_pieces(one, language) for one in (text, other)]
    words = [[one[begin:end] for begin, end in spans] for one, spans in zip((text, other), pieces, strict=True)]
    matched = SequenceMatcher(None, words[0], words[1], autojunk=False).get_opcodes()
    return [span for kind, i, j, _, _ in matched if kind in ("replace", "delete") for span in pieces[0][i:j]]


def _pieces(text: str, language: str) -> list[Span]:
    """A text's words that state facts, and the words between them (in Chinese, characters), each by its place."""
    at, found = 0, list[Span]()
    units = [match.span() for match in facts(language).finditer(text)]
    for begin, end in [*units, (len(text), len(text))]:
        if language == "zh":
            found += [(place, place + 1) for place in range(at, begin) if not text[place].isspace()]
        else:
            start = at
            for word in text[at:begin].split():
                start = text.index(word, start)
                found.append((start, start + len(word)))
                start += len(word)
        found += [(begin, end)] if end > begin else []
        at = end
    return found
