"""What a linear reward model reads of a reply: how often words and runs of characters stand in it, each by its place in
a table of weights (Weinberger et al., "Feature hashing for large scale multitask learning", 2009), and its form.

Words starve where few are repeated, as in Chinese, whose characters are words here; runs of two to five characters do
not, and in Chinese those of one to three say as much. Form is what no word says: how long a reply is, by itself and
for its prompt, how it ends, what it counts up, how much of it the prompt has said before. Details are more of that
kind, by characters: what it has of the prompt's runs, what it repeats, how it is pointed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import log, log1p

import numpy as np
from numpy.typing import NDArray

from sepiola.text.option_features import hashes, words

CHARACTERS, RUNS = range(2, 6), range(1, 4)  # lengths of runs of characters
FORM = 0.3  # what a reply's form, and its details, count beside its words
ENDINGS = tuple(".。!！?？")
NUMBERED = re.compile(r"^\s*\d+\s*[.、．)）]", re.MULTILINE)
BULLET = re.compile(r"^\s*[-*•]", re.MULTILINE)
PARTED = re.compile(r"[。！？!?\n]|\. ")
Integers = NDArray[np.int64]
Values = NDArray[np.float32]
Features = tuple[NDArray[np.integer], Values]
"""The places of a reply's weights in the table, and what each is multiplied by."""


def word_counts(reply: str) -> Mapping[str, float]:
    """Words and pairs of neighbours, each as 1 + the logarithm of how often it stands there."""
    said = words(reply)
    return _damped([*said, *(" ".join(pair) for pair in pairwise(said))])


def character_counts(reply: str) -> Mapping[str, float]:
    """Runs of two to five characters in lower case, spaces made one and one at each end; counted as words are."""
    return _runs(reply, CHARACTERS)


def run_counts(reply: str) -> Mapping[str, float]:
    """The same of one to three characters."""
    return _runs(reply, RUNS)


def form_values(prompt: str, reply: str) -> Mapping[str, float]:
    """A reply's form as numbers, none of them far above 1."""
    said, asked = words(reply), {*words(prompt)}
    letters, own = max(len(reply), 1), {*said}
    length, request = log1p(len(reply)), log1p(len(prompt))
    return {
        "length": length,
        "length squared": length * length / 8,
        "length after a long prompt": length * request / 10,
        "unlike the prompt in length": abs(length - request),
        "numbered": log1p(len(NUMBERED.findall(reply))),
        "exclaims": log1p(sum(map(reply.count, "!！"))),
        "lines": log1p(reply.count("\n")),
        "asks": float("?" in reply or "？" in reply),
        "ends": float(reply.rstrip().endswith(ENDINGS)),
        "digits": 3 * sum(map(str.isdigit, reply)) / letters,
        "capitals": 5 * sum(map(str.isupper, reply)) / letters,
        "marks": 3 * sum(not (c.isalnum() or c.isspace()) for c in reply) / letters,
        "Chinese": sum("\u3400" <= c <= "\u9fff" for c in reply) / letters,
        "distinct": 2 * len(own) / max(len(said), 1),
        "said before": 2 * len(asked & own) / max(len(own), 1),
        "taken up": 2 * len(asked & own) / max(len(asked), 1),
    }


def detail_values(prompt: str, reply: str) -> Mapping[str, float]:
    """Details of a reply's form as numbers, none of them far above 1."""
    letters, (pairs, triples) = max(len(reply), 1), (_sliding(reply, size) for size in (2, 3))
    own, asked = {*pairs}, {*_sliding(prompt, 2)}
    own_triples, asked_triples = {*triples}, {*_sliding(prompt, 3)}
    return {
        "pairs said before": 2 * len(own & asked) / max(len(own), 1),
        "pairs taken up": 2 * len(own & asked) / max(len(asked), 1),
        "triples said before": 2 * len(own_triples & asked_triples) / max(len(own_triples), 1),
        "repeated": 2 * (1 - len(own_triples) / max(len(triples), 1)),
        "bullets": log1p(len(BULLET.findall(reply))),
        "quotes": log1p(sum(map(reply.count, '“”「」"《》'))),
        "sentence": log1p(len(reply) / (1 + len(PARTED.findall(reply)))) / 2,
        "Latin": 2 * sum(c.isascii() and c.isalpha() for c in reply) / letters,
        "commas": 10 * sum(map(reply.count, "，、,")) / letters,
        "colons": log1p(sum(map(reply.count, ":："))),
    }


VALUED: dict[str, Callable[[str, str], Mapping[str, float]]] = {"form": form_values, "details": detail_values}
"""Families of numbers, by their names."""
COUNTED: dict[str, Callable[[str], Mapping[str, float]]] = {
    "words": word_counts,
    "characters": character_counts,
    "runs": run_counts,
}
"""Families whose features count by how rare they are, by their names."""


def counted(reply: str, families: Sequence[str], buckets: int) -> list[Features]:
    """Of each family among COUNTED the places of its features, each once and in order, and how much they count."""
    found: list[Features] = []
    for name in COUNTED:
        if name in families:
            counts = COUNTED[name](reply)
            places, where = np.unique(_places(name, counts, buckets), return_inverse=True)
            found.append((places, np.bincount(where, [*counts.values()], len(places)).astype(np.float32)))
    return found


def rarity(replies: Iterable[str], families: Sequence[str], buckets: int) -> Values:
    """How much each place of the table counts: log((1 + n) / (1 + how many of n replies have it)) + 1."""
    seen, number = np.zeros(buckets, np.int64), 0
    for reply in replies:
        number += 1
        for places, _ in counted(reply, families, buckets):
            seen[places] += 1
    return (np.log((1 + number) / (1 + seen)) + 1).astype(np.float32)


def reply_features(prompt: str, reply: str, families: Sequence[str], rare: Values) -> Features:
    """A reply's features: counts by `rare` `(buckets,)`, each family of length 1, and its form and details."""
    found: list[Features] = []
    for places, counts in counted(reply, families, len(rare)):
        values = counts * rare[places]
        found.append((places, values / max(float(np.linalg.norm(values)), 1e-12)))
    for name in VALUED:
        if name in families:
            numbers = VALUED[name](prompt, reply)
            found.append((_places(name, numbers, len(rare)), FORM * np.fromiter(numbers.values(), np.float32)))
    return np.concatenate([own for own, _ in found]), np.concatenate([own for _, own in found]).astype(np.float32)


def _places(family: str, names: Iterable[str], buckets: int) -> Integers:
    return (hashes(f"{family}:{name}" for name in names) % np.uint64(buckets)).astype(np.int64)


def _sliding(text: str, size: int) -> list[str]:
    """Runs of characters in lower case, spaces made one."""
    text = " ".join(text.lower().split())
    return [text[at : at + size] for at in range(len(text) - size + 1)]


def _runs(reply: str, sizes: Iterable[int]) -> Mapping[str, float]:
    text = f" {' '.join(reply.lower().split())} "
    return _damped(text[at : at + size] for size in sizes for at in range(len(text) - size + 1))


def _damped(found: Iterable[str]) -> Mapping[str, float]:
    return {name: 1.0 + log(count) for name, count in Counter(found).items()}
