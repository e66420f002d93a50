"""Retrieval: BM25 (Robertson and Zaragoza 2009) over a folder of text files, in English and Chinese.

Words are looked up as they are, in small letters; a run of Chinese by its characters and pairs of them. The same files
give the same passages in the same order.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from sepiola.datasets.records import existing_folder, read_file
from sepiola.errors import DataError

K1, B = 1.2, 0.75
"""How soon a term that comes again counts no more, and how much a long passage is held against it."""
TOP, LETTERS = 1, 300
"""Passages that are given, and letters of a passage at most."""
MOST_PASSAGES = 1_000_000
_TERM = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+|[^\W_\u3400-\u9fff\uf900-\ufaff]+")
_SENTENCE = re.compile(r"(?<=[。！？])|(?<=[.!?])\s+|\n+")
_FUNCTION_WORDS = """
a an and are as at be by did do does for from how in is it of on or that the this to was were what when where which
who whom whose why will with 的 了 是 在 和 与 吗 呢 哪 谁 什么 多少 怎么 哪个
"""
STOPS = frozenset(_FUNCTION_WORDS.split())
"""Terms that tell nothing of what is asked."""


class Retrieval:
    """The passages that fit a text best, none where no term of it is known."""

    def __init__(self, passages: Sequence[str], *, top: int = TOP) -> None:
        if not passages or len(passages) > MOST_PASSAGES:
            raise DataError(f"a corpus of {len(passages):,} passages; expected 1 to {MOST_PASSAGES:,}")
        self.passages = tuple(passages)
        self.top = top
        counts = [Counter(terms(passage)) for passage in passages]
        self.lengths = [sum(count.values()) for count in counts]
        self.mean = max(1.0, sum(self.lengths) / len(counts))
        self.found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for place, count in enumerate(counts):
            for term, times in count.items():
                self.found[term].append((place, times))

    @classmethod
    def load(cls, folder: Path, *, top: int = TOP) -> Retrieval:
        """Every `.txt` and `.txt.gz` under a folder, in passages. Raises DataError where there is no text."""
        root = existing_folder(folder, "text to look things up in (.txt, .txt.gz)")
        files = sorted(path for path in root.rglob("*") if path.name.endswith((".txt", ".txt.gz")))
        passages = [passage for path in files for passage in passages_of(read_file(path))]
        if not passages:
            raise DataError(f"{root}: no text to look things up in; give a folder that holds .txt or .txt.gz files")
        return cls(passages, top=top)

    def __call__(self, text: str) -> list[str]:
        scores: dict[int, float] = defaultdict(float)
        for term in sorted({*terms(text)}):
            places = self.found.get(term, [])
            rare = math.log(1 + (len(self.passages) - len(places) + 0.5) / (len(places) + 0.5))
            for place, times in places:
                long = 1 - B + B * self.lengths[place] / self.mean
                scores[place] += rare * times * (K1 + 1) / (times + K1 * long)
        best = sorted(scores, key=lambda place: (-scores[place], place))[: self.top]
        return [self.passages[place] for place in best]


def terms(text: str) -> list[str]:
    """What a text is found by."""
    found: list[str] = []
    for run in _TERM.findall(text.lower()):
        if run[0] >= "\u3400" and not run.isascii() and re.match(r"[\u3400-\u9fff\uf900-\ufaff]", run):
            found += [*run, *(run[at : at + 2] for at in range(len(run) - 1))]
        else:
            found.append(run)
    return [term for term in found if term not in STOPS]


def passages_of(text: str) -> list[str]:
    """A text in runs of sentences, each of LETTERS letters at most; a longer sentence is cut there."""
    passages, run = list[str](), ""
    for sentence in (piece.strip() for piece in _SENTENCE.split(text)):
        while len(sentence) > LETTERS:
            passages += [run] if run else []
            run = ""
            passages.append(sentence[:LETTERS])
            sentence = sentence[LETTERS:]
        joined = f"{run} {sentence}" if run and run[-1].isascii() else run + sentence
        if run and len(joined) > LETTERS:
            passages.append(run)
            joined = sentence
        run = joined
    return [*passages, run] if run else passages
