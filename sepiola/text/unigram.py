"""Training of a Unigram vocabulary (Kudo 2018, arXiv:1804.10959): pieces with log-probabilities; the likeliest wins.

The paper's loop: begin with too many pieces, estimate their probabilities from how the text is cut, drop the pieces
that are missed least, and repeat until as many are left as wanted. The seeds are the tokens of a byte-pair encoding, as
the paper allows, and probabilities come from the best cut of each word (hard EM), which the `tokenizers` library finds.
Its own trainer is not used: run twice it gives two files, and where words are cut apart beforehand it misses whole
words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tokenizers
from tokenizers import models

SEEDS = 2  # seeds for each piece that stays
LONGEST = 48  # bytes of a piece: 16 Chinese characters
KEPT = 0.8  # share of the pieces that survives a round
BATCH = 20_000
UNKNOWN = "<unk>"  # the library asks for one; with every byte a piece it is never met, and no word reads so


def train_pieces(words: Mapping[str, int], seeds: models.BPE, pieces: list[str], size: int) -> list[tuple[str, float]]:
    """`size` pieces with their log-probabilities, the likeliest first.

    `words` counts the text's words; `pieces` are the seeds in the order of the byte-pair encoding's ids. Single symbols
    are never dropped, so that any word can be cut.
    """
    counts = _count(seeds, words, pieces)
    while True:
        scores = _scores(counts)
        counts = _count(models.Unigram([(UNKNOWN, 0.0), *scores.items()], 0), words, [UNKNOWN, *scores])
        scores = _scores(counts)
        if len(scores) <= size:
            return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        counts = _prune(counts, scores, max(size, int(KEPT * len(scores))))


def _scores(counts: Mapping[str, int]) -> dict[str, float]:
    """Log-probabilities; a piece that was never used counts half a time."""
    smoothed = {piece: max(count, 0.5) for piece, count in counts.items() if piece != UNKNOWN}
    total = math.log(sum(smoothed.values()))
    return {piece: math.log(count) - total for piece, count in smoothed.items()}


def _count(model: models.Model, words: Mapping[str, int], pieces: list[str]) -> dict[str, int]:
    """How often the text uses each piece when the model cuts its words."""
    backend = tokenizers.Tokenizer(model)
    texts, weights = list(words), np.fromiter(words.values(), np.int64, len(words))
    totals = np.zeros(len(pieces), np.int64)
    for start in range(0, len(texts), BATCH):
        rows = [e.ids for e in backend.encode_batch_fast(texts[start : start + BATCH], add_special_tokens=False)]
        repeated = np.repeat(weights[start : start + BATCH], [len(row) for row in rows])
        np.add.at(totals, np.concatenate([np.array(row, np.int64) for row in rows]), repeated)
    return dict(zip(pieces, totals.tolist(), strict=True))


def _prune(counts: dict[str, int], scores: Mapping[str, float], size: int) -> dict[str, int]:
    """Drops the pieces without which the text loses least likelihood; what is left inherits their counts.

    Pieces that stand in for a dropped one stay for this round: else a character would go with the word that held it.
    """
    ways = {piece: _without(piece, scores) for piece in scores if len(piece) > 1}
    losses = {piece: counts[piece] * (scores[piece] - score) for piece, (score, _) in ways.items()}
    left, spared = {piece: counts[piece] for piece in scores}, set[str]()
    for piece in sorted(ways, key=lambda piece: (losses[piece], -len(piece), piece)):
        if len(left) <= size:
            break
        if piece in spared:
            continue
        del left[piece]
        for part in filter(left.__contains__, ways[piece][1]):
            spared.add(part)
            left[part] += counts[piece]
    return left


def _without(piece: str, scores: Mapping[str, float]) -> tuple[float, list[str]]:
    """The likeliest way to cut a piece into smaller ones (Viterbi): its log-probability, and the parts."""
    best, begins = [0.0] + [-math.inf] * len(piece), [0] * (len(piece) + 1)
    for end in range(1, len(piece) + 1):
        for begin in range(end):
            score = scores.get(piece[begin:end]) if end - begin < len(piece) else None
            if score is not None and best[begin] + score > best[end]:
                best[end], begins[end] = best[begin] + score, begin
    parts, end = [], len(piece)
    while end:
        parts.append(piece[begins[end] : end])
        end = begins[end]
    return best[-1], parts[::-1]
