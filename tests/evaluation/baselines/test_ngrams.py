"""The n-gram model against KenLM's figures, against a plain dict implementation, and as a distribution."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from sepiola.errors import DataError
from sepiola.evaluation.baselines.ngrams import KneserNey, ngram_bits

TEXT = """the squid swims by night and hides in the sand by day
the squid hides in the sand and the crab walks by
by day the crab hides and by night the crab walks in the sand
白日依山尽 黄河入海流
黄河远上白云间 一片孤城万仞山
白日放歌须纵酒 青春作伴好还乡
空山不见人 但闻人语响""".splitlines()
HELD_OUT = ["the crab swims by night", "黄河入海 白日依山", "a squid 入海", ""]
CHARACTERS = sorted(set("".join(TEXT)))
END = 0
VOCABULARY = len(CHARACTERS) + 2  # the end of a document, and one token that never occurs


def ids(text: str) -> list[int]:
    return [*(1 + CHARACTERS.index(c) for c in text), END]


@pytest.mark.parametrize(
    ("order", "log10"),
    [
        (2, [-22.457205, -7.8332624, -10.5984745, -1.5995785]),
        (4, [-10.12323, -9.015281, -10.080066, -1.4000463]),
    ],
)
def test_scores_are_those_of_kenlm(order: int, log10: list[float]) -> None:
    """Figures of `lmplz --discount_fallback` and `query`, a character a word; they round to float32."""
    train = [ids(line) for line in TEXT]
    ours = [-ngram_bits(train, [ids(line)], VOCABULARY, order) * np.log10(2) for line in HELD_OUT]
    assert ours == pytest.approx(log10, abs=2e-5)


class Plain:
    """Interpolated modified Kneser-Ney by the book: dicts of tuples, one probability at a time, recursive."""

    def __init__(self, train: list[list[int]], vocabulary: int, order: int) -> None:
        self.vocabulary, self.order = vocabulary, order
        documents = [("<s>", *document) for document in train]
        plain: Counter[tuple] = Counter()
        left: defaultdict[tuple, set] = defaultdict(set)
        for words in documents:
            for length in range(1, order + 1):
                for i in range(len(words) - length + 1):
                    plain[words[i : i + length]] += 1
                    if i:
                        left[words[i : i + length]].add(words[i - 1])
        self.followers: defaultdict[tuple, dict] = defaultdict(dict)
        of_order: defaultdict[int, list[int]] = defaultdict(list)
        for gram, count in plain.items():
            if gram == ("<s>",):
                continue
            adjusted = count if len(gram) == order or gram[0] == "<s>" else len(left[gram])
            self.followers[gram[:-1]][gram[-1]] = adjusted
            of_order[len(gram)].append(adjusted)
        self.discounts = {length: self.estimate(counts) for length, counts in of_order.items()}

    @staticmethod
    def estimate(counts: list[int]) -> tuple[float, ...]:
        n = [counts.count(k) for k in range(5)]
        if 0 in n[1:4]:
            return (0.5, 1.0, 1.5)
        y = n[1] / (n[1] + 2 * n[2])
        found = tuple(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))
        return found if min(found) > 0 else (0.5, 1.0, 1.5)

    def probability(self, context: tuple, token: int) -> float:
        lower = self.probability(context[1:], token) if context else 1 / self.vocabulary
        counts = self.followers.get(context, {})
        if not counts:
            return lower
        taken = {t: self.discounts[len(context) + 1][min(c, 3) - 1] for t, c in counts.items()}
        kept = counts[token] - taken[token] if token in counts else 0
        return (kept + sum(taken.values()) * lower) / sum(counts.values())

    def score(self, document: list[int]) -> list[float]:
        words = ("<s>", *document)
        return [self.probability(words[max(0, i - self.order + 1) : i], words[i]) for i in range(1, len(words))]


def toy(seed: int, documents: int, vocabulary: int = 40) -> list[list[int]]:
    """Documents of 0 to 9 skewed random tokens, then the end token."""
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, vocabulary) ** 1.5
    return [
        [*(1 + random.choice(vocabulary - 1, size=random.integers(10), p=weights / weights.sum())).tolist(), END]
        for _ in range(documents)
    ]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("documents", [0, 1, 6, 400])
def test_equal_to_a_plain_implementation(order: int, documents: int) -> None:
    train, held_out = toy(1, documents), toy(2, 40)
    plain = Plain(train, 40, order)
    expected = list(itertools.chain.from_iterable(map(plain.score, held_out)))
    given = KneserNey([np.array(d, np.int32) for d in train], 40, order).probabilities(held_out)
    assert given == pytest.approx(expected, rel=1e-12)
    if documents == 400:
        estimated = [d for d in plain.discounts.values() if d != (0.5, 1.0, 1.5)]
        assert order == 1 or estimated, "the corpus is too small to try the estimate"


@pytest.mark.parametrize("order", [1, 3, 5])
def test_probabilities_sum_to_one_in_any_context(order: int) -> None:
    train = [ids(line) for line in TEXT]
    model = KneserNey(train, VOCABULARY, order)
    never = VOCABULARY - 1
    contexts = ["", "the squid", "白日依", "海 crab", "黄河入海 the sq", "day"]
    for context in [*(ids(c)[:-1] for c in contexts), [never], [never, never, *ids("the")[:-1]], [*ids("by")]]:
        each = model.probabilities([[*context, token] for token in range(VOCABULARY)])
        last = each.reshape(VOCABULARY, -1)[:, -1]
        assert last.sum() == pytest.approx(1, abs=1e-12)
        assert last.min() > 0


def test_what_cannot_be_scored_is_named() -> None:
    with pytest.raises(DataError, match="token id 5 is outside the vocabulary; expected 0 to 4"):
        KneserNey([[1, 5]], 5)
    with pytest.raises(DataError, match="token id -1 is outside"):
        KneserNey([[1, 2]], 5).probabilities([[0], [-1]])
    with pytest.raises(DataError, match="order of 1 or more"):
        KneserNey([[1]], 5, 0)
