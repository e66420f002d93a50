"""An n-gram language model over token ids, to set a neural one beside: interpolated modified Kneser-Ney.

Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1998), with the choices of
KenLM (Heafield et al., 2013): three discounts an order, estimated from the counts of counts; lower orders count the
distinct tokens to the left (an n-gram at the start of a document has none, and keeps its plain count); the unigrams
are interpolated with the uniform distribution. Nothing is pruned or hashed, so probabilities sum to one exactly.

An n-gram is known by its rank among the n-grams of its order, sorted; the key of a longer one is the rank of its
prefix and its last token in one integer. One sort an order thus counts any order, on 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sepiola.errors import DataError

Tokens = Sequence[int] | npt.NDArray[np.integer[Any]]
"""Token ids of one document, as a model predicts them: the end-of-document token last, no start token."""

_FALLBACK = (0.5, 1.0, 1.5)
"""KenLM's discounts for counts that are too few or too odd to estimate them."""

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]


class KneserNey:
    """Probabilities of tokens given up to `order` - 1 tokens before them in the same document.

    Contexts begin with a start-of-document symbol, which is never predicted. Order 1 is the unigram model: plain
    counts, discounted in favour of the uniform distribution.
    """

    def __init__(self, train: Sequence[Tokens], vocabulary: int, order: int = 5) -> None:
        """Raises DataError when an id is outside 0 .. `vocabulary` - 1, or `order` is not positive."""
        if order < 1:
            raise DataError(f"n-grams of order {order}: expected an order of 1 or more")
        self.vocabulary, self.order = vocabulary, order
        # By order: the sorted keys of the n-grams; the share of its context's probability that each keeps; and what
        # each context, one token shorter, leaves to the next lower order. Rank -1 is an n-gram that was never seen:
        # for it each array of `_shares` ends in a 0 and each of `_backoffs` in a 1.
        self._keys: list[_Integers] = []
        self._shares: list[_Floats] = []
        self._backoffs: list[_Floats] = []

        stream, left = self._stream(train)
        keys, counts, ranks = np.arange(vocabulary + 1), np.bincount(stream, minlength=vocabulary + 1), stream
        for length in range(2, order + 1):
            longer_keys, longer_counts, longer_ranks, places = self._count(stream, left, ranks, length)
            # Each distinct longer n-gram is one token to the left of its suffix.
            continuations = np.bincount(ranks[places + 1], minlength=len(counts))
            self._add(keys, np.where(continuations > 0, continuations, counts))
            keys, counts, ranks = longer_keys, longer_counts, longer_ranks
        self._add(keys, counts)

    def probabilities(self, documents: Sequence[Tokens]) -> _Floats:
        """Probability of each token of the documents, one document after the other: `(tokens,)`.

        Raises DataError when an id is outside the vocabulary.
        """
        stream, left = self._stream(documents)
        result = self._shares[0][stream] + self._backoffs[0][0] / self.vocabulary
        ranks = stream
        for length in range(2, self.order + 1):
            starts = np.flatnonzero(left >= length)
            contexts, last = ranks[starts], starts + length - 1
            wanted, keys = contexts * (self.vocabulary + 1) + stream[last], self._keys[length - 1]
            found = np.searchsorted(keys, wanted)
            seen = found < len(keys)
            seen[seen] = keys[found[seen]] == wanted[seen]
            found[~seen] = -1
            result[last] = self._shares[length - 1][found] + self._backoffs[length - 1][contexts] * result[last]
            ranks = np.full(len(stream), -1)
            ranks[starts] = found
        return result[stream < self.vocabulary]

    def _stream(self, documents: Sequence[Tokens]) -> tuple[_Integers, _Integers]:
        """All documents in one array, each after a start symbol (the id `vocabulary`), and for each position how
        many tokens of its document are left, itself included."""
        lengths = np.array([1 + len(document) for document in documents], np.int64)
        ends = np.cumsum(lengths)
        stream = np.full(int(lengths.sum()), self.vocabulary)
        for document, end, length in zip(documents, ends, lengths, strict=True):
            stream[end - length + 1 : end] = document
        starts = np.zeros(len(stream), bool)
        starts[ends - lengths] = True
        wrong = (stream < 0) | (stream > self.vocabulary) | ((stream == self.vocabulary) & ~starts)
        if wrong.any():
            raise DataError(
                f"token id {stream[wrong][0]} is outside the vocabulary; expected 0 to {self.vocabulary - 1}: encode "
                "the documents with the tokenizer whose vocabulary was given"
            )
        return stream, np.repeat(ends, lengths) - np.arange(len(stream))

    def _count(
        self, stream: _Integers, left: _Integers, ranks: _Integers, length: int
    ) -> tuple[_Integers, _Integers, _Integers, _Integers]:
        """The distinct n-grams of `length`, from the `ranks` by position of those one token shorter: their sorted keys,
        their counts, their ranks by position (0 where the document ends sooner), and a place where each begins."""
        starts = np.flatnonzero(left >= length)
        keys = ranks[starts] * (self.vocabulary + 1) + stream[starts + length - 1]
        by_key = np.argsort(keys)
        keys, starts = keys[by_key], starts[by_key]
        new = np.ones(len(keys), bool)
        new[1:] = keys[1:] != keys[:-1]
        distinct = np.flatnonzero(new)
        longer_ranks = np.zeros_like(ranks)
        longer_ranks[starts] = np.cumsum(new) - 1
        return keys[distinct], np.diff(distinct, append=len(keys)), longer_ranks, starts[distinct]

    def _add(self, keys: _Integers, counts: _Integers) -> None:
        """One order more, from the keys of its n-grams and their adjusted counts."""
        contexts = len(self._keys[-1]) if self._keys else 1
        if not self._keys:
            counts[self.vocabulary] = 0  # the start of a document
        prefixes = keys // (self.vocabulary + 1)
        discounts = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
        totals = np.bincount(prefixes, weights=counts, minlength=contexts)
        backoffs = np.ones(contexts + 1)
        np.divide(np.bincount(prefixes, discounts, contexts), totals, out=backoffs[:-1], where=totals > 0)
        shares = np.zeros(len(keys) + 1)
        np.divide(counts - discounts, totals[prefixes], out=shares[:-1], where=counts > 0)
        self._keys.append(keys)
        self._shares.append(shares)
        self._backoffs.append(backoffs)


def ngram_bits(train: Sequence[Tokens], held_out: Sequence[Tokens], vocabulary: int, order: int = 5) -> float:
    """Total bits of the held-out documents under the n-gram model of the training documents: the sum of -log2 p over
    their tokens. Raises DataError as KneserNey does."""
    return float(-np.log2(KneserNey(train, vocabulary, order).probabilities(held_out)).sum())


def _discounts(counts: _Integers) -> tuple[float, float, float]:
    """What is taken from counts of 1, 2 and 3 or more: equation 26 of Chen and Goodman."""
    n1, n2, n3, n4 = (int(n) for n in np.bincount(np.minimum(counts, 5), minlength=6)[1:5])
    if not (n1 and n2 and n3):
        return _FALLBACK
    y = n1 / (n1 + 2 * n2)
    second, third = 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    # The first, 1 - 2 y n2 / n1, is y. A discount of 0 would leave nothing for what was never seen.
    return (y, second, third) if second > 0 and third > 0 else _FALLBACK
