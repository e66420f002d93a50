"""What pretraining hides from a model: masked language modelling (BERT, arXiv 1810.04805), span corruption (T5, arXiv
1910.10683) and denoising (BART, arXiv 1910.13461).

Each is a function of one sample, whose target is a piece of a document, and a generator; a sample is corrupted anew
each time it is seen. What stands before the piece (its source) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sepiola.data.batching import IGNORED, Sample

Generator = np.random.Generator


@dataclass(frozen=True)
class Masking:
    """BERT's: `share` of the tokens are to be predicted; of these 80% read as the mask, 10% as a random token.

    Tokens in `kept` (the end of a document) are left alone.
    """

    mask: int
    vocabulary: int
    kept: frozenset[int]
    share: float = 0.15

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        ids = np.asarray(sample.target, dtype=np.int64)
        places = np.flatnonzero(~np.isin(ids, list(self.kept)))
        chosen = generator.permutation(places)[: max(1, round(self.share * len(places)))] if len(places) else places
        labels = np.full(len(ids), IGNORED)
        labels[chosen] = ids[chosen]
        fate = generator.random(len(chosen))
        read = ids.copy()
        read[chosen[fate < 0.8]] = self.mask
        drawn = chosen[fate >= 0.9]
        read[drawn] = generator.integers(self.vocabulary, size=len(drawn))
        return Sample(sample.id, read, labels)


@dataclass(frozen=True)
class SpanCorruption:
    """T5's: spans of `mean` tokens on average, `share` of all, each stand as a sentinel and are the target.

    The target names each sentinel and what it stands for. Spans are as many as there are sentinels at most.
    """

    sentinels: Sequence[int]
    end: int
    share: float = 0.15
    mean: float = 3.0

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        ids = np.asarray(sample.target, dtype=np.int64)
        ids = ids[:-1] if len(ids) and ids[-1] == self.end else ids
        hidden = min(max(1, round(self.share * len(ids))), max(1, len(ids) - 1))
        spans = min(max(1, round(hidden / self.mean)), len(self.sentinels), max(1, len(ids) - hidden))
        # A kept and a hidden piece alternate, the kept one first; the cuts are drawn evenly.
        kept_pieces = _cut(len(ids) - hidden, spans, generator)
        hidden_pieces = _cut(hidden, spans, generator)
        source: list[int] = []
        target: list[int] = []
        at = 0
        for sentinel, kept, gone in zip(self.sentinels, kept_pieces, hidden_pieces, strict=False):
            source += [*ids[at : at + kept].tolist(), sentinel]
            target += [sentinel, *ids[at + kept : at + kept + gone].tolist()]
            at += kept + gone
        return Sample(sample.id, [*source, self.end], [*target, self.end])


@dataclass(frozen=True)
class Denoising:
    """BART's: sentences stand in another order, and spans (Poisson of mean 3, `share` of all tokens) as one mask.

    A span of no tokens is a mask too many. The target is the text as it was. `closing[token]` tells whether a token
    ends a sentence.
    """

    mask: int
    end: int
    closing: np.ndarray
    share: float = 0.3
    mean: float = 3.0

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        ids = np.asarray(sample.target, dtype=np.int64)
        body = ids[:-1] if len(ids) and ids[-1] == self.end else ids
        ends = np.flatnonzero(self.closing[body]) + 1
        sentences = [s for s in np.split(body, ends) if len(s)]
        shuffled = [sentences[i] for i in generator.permutation(len(sentences))]
        source = self._infilled(np.concatenate(shuffled) if shuffled else body, generator)
        return Sample(sample.id, [*source, self.end], ids)

    def _infilled(self, ids: np.ndarray, generator: Generator) -> list[int]:
        budget = round(self.share * len(ids))
        gone = np.zeros(len(ids), dtype=bool)
        opened = np.zeros(len(ids) + 1, dtype=bool)
        while budget > 0:
            length = min(int(generator.poisson(self.mean)), budget)
            start = int(generator.integers(len(ids) - length + 1))
            if gone[max(0, start - 1) : start + length + 1].any() or opened[start : start + length + 1].any():
                budget -= 1  # it would touch another span: a try less, so that this ends
                continue
            gone[start : start + length] = True
            opened[start] = True
            budget -= max(1, length)
        source: list[int] = []
        for place in range(len(ids) + 1):
            if opened[place]:
                source.append(self.mask)
            if place < len(ids) and not gone[place]:
                source.append(int(ids[place]))
        return source


def _cut(tokens: int, pieces: int, generator: Generator) -> list[int]:
    """`tokens` as `pieces` lengths of at least one each (fewer when there are too few), every way equally likely."""
    pieces = max(1, min(pieces, tokens))
    cuts = np.sort(generator.permutation(tokens - 1)[: pieces - 1]) + 1 if tokens > 1 else np.zeros(0, dtype=int)
    return np.diff(np.concatenate(([0], cuts, [tokens]))).tolist()
