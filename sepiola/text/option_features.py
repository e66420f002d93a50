"""What a linear model reads of a question's options: pairs of what the question says and what an option says, hashed
into a table of weights (Weinberger et al., "Feature hashing for large scale multitask learning", 2009).

Pairs tell what no part of a question tells alone: "mammal" in the question and "koala" in the option. Much depends on
the kind of question, so a question's *template*, its text with rare words left out, is paired with what an option is
among the others: the largest number, the last by the alphabet, the longest. Where an option stands is no feature, so
answers do not depend on the options' order. A Chinese character is a word.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sepiola.data.example import Question

Integers = NDArray[np.int64]
Hashes = NDArray[np.uint64]

COMMON = 25  # questions in which a word must stand to belong to a template
_WORD = re.compile(r"[^\W\d_\u3400-\u9fff]+|[\u3400-\u9fff]|\d+(?:\.\d+)?|[^\s\w]")
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?")
_MIX = np.uint64(0x9E3779B97F4A7C15)
_TOP = np.uint64(30)


@cache
def hashed(text: str) -> int:
    """32 bits of a text, alike on every machine."""
    return zlib.crc32(text.encode())


def hashes(texts: Iterable[str]) -> Hashes:
    """`hashed` of each."""
    return np.fromiter(map(hashed, texts), np.uint64)


def words(text: str) -> list[str]:
    """Lower-cased words, numbers, Chinese characters and marks, each by itself."""
    return _WORD.findall(text.lower())


def numbers(text: str) -> list[float]:
    """The numbers in a text, in their order; 3/4 is one number, and one over zero is none."""
    found = []
    for match in _NUMBER.findall(text):
        above, _, below = match.replace(",", "").partition("/")
        if not below or float(below):
            found.append(float(above) / (float(below) if below else 1.0))
    return found


def common_words(questions: Iterable[Question], least: int = COMMON) -> list[int]:
    """Hashes, sorted, of the words that stand in at least so many questions: what templates are made of."""
    counts = Counter(word for question in questions for word in set(words(question.text)))
    return sorted({hashed(word) for word, count in counts.items() if count >= least})


def template(text: str, common: frozenset[int]) -> str:
    """A question with each run of rare words and numbers as one blank: its kind."""
    kept: list[str] = []
    for word in words(text):
        part = word if hashed(word) in common and not word[0].isdigit() else "_"
        if part != "_" or kept[-1:] != ["_"]:
            kept.append(part)
    return " ".join(kept)


@dataclass(frozen=True)
class Asked:
    """A question's texts, taken apart once."""

    question: Question
    common: frozenset[int]

    @cached_property
    def words(self) -> list[str]:
        return words(self.question.text)

    @cached_property
    def hint(self) -> list[str]:
        return words(self.question.hint or "")

    @cached_property
    def options(self) -> list[list[str]]:
        return [words(choice) for choice in self.question.choices]

    @cached_property
    def lower(self) -> list[str]:
        return [choice.lower() for choice in self.question.choices]

    @cached_property
    def unique(self) -> list[list[str]]:
        """Of each option the words that some other option has not, sorted."""
        counts = Counter(word for option in self.options for word in set(option))
        return [sorted(w for w in set(option) if counts[w] < len(self.options)) for option in self.options]

    @cached_property
    def group(self) -> int:
        """The same for questions with the same words and options, whatever their case, spacing and order."""
        options = sorted(" ".join(option.split()) for option in self.lower)
        return hashed("\n".join([" ".join(self.question.text.lower().split()), *options]))

    @cached_property
    def template(self) -> str:
        return template(self.question.text, self.common)

    @cached_property
    def kinds(self) -> Hashes:
        """What sort of question it is, from the narrowest to any."""
        opening, ending = " ".join(self.words[:4]), " ".join(self.words[-4:])
        return hashes([f"T:{self.template}", f"S:{opening}", f"E:{ending}", "ALL", f"N{len(self.question.choices)}"])


def _grams(tokens: Sequence[str]) -> list[str]:
    """Words and pairs of neighbours, sorted."""
    return sorted({*tokens, *(" ".join(pair) for pair in pairwise(tokens))})


def _whole(asked: Asked, option: int) -> str:
    return f"O:{asked.lower[option]}"


Pairs = list[tuple[Hashes, Hashes]]


def word_pairs(asked: Asked) -> list[Pairs]:
    """Words and pairs of words of the question with those of the option, and both as a whole."""
    left = hashes([*_grams(asked.words)[:200], f"Q:{asked.question.text}"])
    return [[(left, hashes([*_grams(o)[:80], _whole(asked, i)]))] for i, o in enumerate(asked.options)]


def template_pairs(asked: Asked) -> list[Pairs]:
    """The kind of question with an option's words, its whole text and its runs of four characters."""
    found: list[Pairs] = []
    for i, (option, text) in enumerate(zip(asked.options, asked.lower, strict=True)):
        runs = [f"3{text[max(0, end - 3) : end + 1]}" for end in range(len(text) + 1)]
        found.append([(asked.kinds, hashes([*_grams(option)[:80], _whole(asked, i), *runs]))])
    return found


def hint_pairs(asked: Asked) -> list[Pairs]:
    """Words of the hint with those of the option."""
    left = hashes(sorted(set(asked.hint))[:150])
    return [[(left, hashes([*sorted(set(o))[:30], _whole(asked, i)]))] for i, o in enumerate(asked.options)]


def ending_pairs(asked: Asked) -> list[Pairs]:
    """Last letters of the question's words with the option and its words' last letters: tense, number, sort of word."""
    left = hashes(sorted({f"sf{word[-n:]}" for word in asked.words for n in (2, 3) if len(word) > n})[:200])
    return [
        [(left, hashes([_whole(asked, i), *(f"sf{word[-3:]}" for word in unique[:10])]))]
        for i, unique in enumerate(asked.unique)
    ]


def _ranks(values: Sequence[object]) -> list[int]:
    order = sorted(set(values))  # type: ignore[type-var]
    return [order.index(value) for value in values]


def _order(values: Sequence[object]) -> str:
    return "/".join(map(str, _ranks(values)))


def form_pairs(asked: Asked) -> list[Pairs]:
    """The kind of question with an option's form: which it is by length and by the alphabet, capitals, marks, words."""
    lengths, alphabet = _ranks([len(text) for text in asked.lower]), _ranks(asked.lower)
    found: list[Pairs] = []
    for i, choice in enumerate(asked.question.choices):
        marks = "".join(c for c in choice if not c.isalnum() and c != " ")[:6]
        capitals = sum(word[:1].isupper() for word in choice.split())
        said = [f"l{lengths[i]}/{len(lengths)}", f"a{alphabet[i]}", f"cap{capitals}", f"up{choice[:1].isupper():d}"]
        said += [f"end{choice[-1:]}", f"punct{marks}", f"nw{min(len(asked.options[i]), 12)}"]
        found.append([(asked.kinds, hashes(said))])
    return found


def overlap_pairs(asked: Asked) -> list[Pairs]:
    """The kind of question with how much an option shares: words with question and hint, letters with other options."""
    question, hint = set(asked.words), set(asked.hint)
    text, hint_text = asked.question.text.lower(), (asked.question.hint or "").lower()
    bare = [option.strip(".") for option in asked.lower]
    places: dict[str, int] = {}
    for place, word in enumerate(asked.words):
        places.setdefault(word, place)
    shared = [[places[word] for word in option if word in places] for option in asked.options]
    first = min((min(own) for own in shared if own), default=0)
    found: list[Pairs] = []
    for i, option in enumerate(asked.options):
        own, unique = set(option), asked.unique[i]
        counts = {"hq": len(own & question), "hh": len(own & hint), "hc": hint_text.count(bare[i]) if bare[i] else 0}
        counts |= {"hu": sum(w in hint for w in unique), "qu": sum(w in question for w in unique)}
        said = [f"{name}{min(count, 6)}" for name, count in counts.items()]
        said += [f"in{asked.lower[i] in hint_text:d}", f"iq{asked.lower[i] in text:d}"]
        said += [f"end{n}:{sum(other[-n:] == bare[i][-n:] for other in bare) - 1}" for n in (2, 3)]
        said.append(f"ini{sum(other[:1] == bare[i][:1] for other in bare) - 1}")
        if shared[i]:
            said.append(f"first{min(shared[i]) == first:d}")
        if len(shared[i]) > 1:
            said.append(f"ord{shared[i][0] < shared[i][-1]:d}")
        found.append([(asked.kinds, hashes(said))])
    return found


def order_pairs(asked: Asked) -> list[Pairs]:
    """The kind of question with order: of an option's numbers among the others', of what the question compares by
    numbers, and of words by the alphabet (the guide words of a dictionary's page).
    """
    options = asked.question.choices
    said: list[list[str]] = [[] for _ in options]
    found = [numbers(choice) for choice in options]
    if all(found) and len({len(own) for own in found}) == 1:
        columns = [[own[place] for own in found] for place in range(min(len(found[0]), 3))]
        ratios = [own[0] / own[1] if len(own) > 1 and own[1] else 0.0 for own in found]
        unlike = [(name, column) for name, column in enumerate([*columns, ratios]) if len(set(column)) > 1]
        if unlike:
            unlike.append((9, unlike[0][1]))  # the first that tells options apart, wherever it stands
        for name, column in unlike:
            ranks = _ranks(column)
            for i, rank in enumerate(ranks):
                said[i].append(f"num{name}:{rank}/{max(ranks)}")
    lines = asked.question.text.lower().split("\n")
    last = [word for word in words(lines[-1]) if word[0].isalpha()]
    patterns = [f"L{_order(last)}"] if 2 <= len(last) <= 4 else []
    if 2 <= len(last) <= 3 and len(lines) > 1:
        rare = [w for w in words(lines[0]) if w[0].isalpha() and hashed(w) not in asked.common]
        patterns += [f"FL{_order([rare[0], *last])}"] if rare else []
        for i, option in enumerate(asked.lower):
            said[i].append(f"OL{_order([option, *last])}")
    compared = numbers(f"{asked.question.text} {asked.question.hint or ''}")
    patterns += [f"N{_order(compared)}"] if 2 <= len(compared) <= 3 else []
    return [
        [(asked.kinds, hashes([*own, *(f"{pattern}>{asked.lower[i]}" for pattern in patterns)]))]
        for i, own in enumerate(said)
    ]


FEATURES: dict[str, Callable[[Asked], list[Pairs]]] = {
    "words": word_pairs,
    "templates": template_pairs,
    "hint": hint_pairs,
    "endings": ending_pairs,
    "form": form_pairs,
    "overlap": overlap_pairs,
    "order": order_pairs,
}
"""Every family of features by its name, in the order of their salts: a new one goes last."""


def buckets_of(left: Hashes, right: Hashes, salt: int, buckets: int) -> Integers:
    """The places in a table of `buckets` weights of all pairs of two lists of hashes; other salts, other places."""
    mixed = left[:, None] * np.uint64(2654435761) + right[None, :] * np.uint64(40503)
    mixed = (mixed + np.uint64(salt * 0xABCDEF123)) * _MIX
    return ((mixed >> _TOP) % np.uint64(buckets)).astype(np.int64).ravel()


def option_features(asked: Asked, families: Sequence[str], buckets: int) -> list[Integers]:
    """The places of each option's weights. Raises KeyError for a family that is none."""
    found: list[list[Integers]] = [[np.zeros(0, np.int64)] for _ in asked.question.choices]
    for salt, name in enumerate(FEATURES, start=1):
        for places, pairs in zip(found, FEATURES[name](asked) if name in families else (), strict=False):
            places += [buckets_of(left, right, salt, buckets) for left, right in pairs]
    return [np.concatenate(places) for places in found]
