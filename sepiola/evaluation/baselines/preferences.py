"""Baselines of preferences: how often the better completion is found without a model of ours.

The longer or the shorter wins; or a linear machine over TF-IDF, words of English and characters of Chinese, learns from
the difference of two completions, which knows their words and nothing of the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.evaluation.baselines.questions import tfidf
from sepiola.evaluation.metrics.accuracy import Accuracy

Pair = tuple[str, str]
"""The better and the worse of two completions."""


def pairs_of(examples: Iterable[Example]) -> list[Pair]:
    """All pairs of completions of unequal scores, the better one first."""
    pairs = []
    for example in examples:
        ordered = sorted(completions_of(example), key=lambda completion: -completion.score)
        pairs += [
            (better.text, worse.text)
            for at, better in enumerate(ordered)
            for worse in ordered[at + 1 :]
            if better.score > worse.score
        ]
    return pairs


def preference_baselines(train: Sequence[Example], examples: Sequence[Example]) -> dict[str, Accuracy]:
    """The share of pairs whose better completion is longer, shorter, or preferred by a linear machine over TF-IDF.

    A tie is half right. The machine learns from `train`, and is left out where that holds no pair. Needs the `eval`
    extra.
    """
    pairs = pairs_of(examples)
    longer = sum((len(better) > len(worse)) + (len(better) == len(worse)) / 2 for better, worse in pairs)
    found = {"longer": Accuracy(longer, len(pairs)), "shorter": Accuracy(len(pairs) - longer, len(pairs))}
    known = pairs_of(train)
    if known and pairs:
        margins = linear_margins(known, pairs, chinese=_chinese(examples))
        right = sum((margin > 0) + (margin == 0) / 2 for margin in margins)
        found["linear"] = Accuracy(right, len(pairs))
    return found


def linear_margins(known: Sequence[Pair], asked: Sequence[Pair], *, chinese: bool) -> list[float]:
    """How much rather each pair's first is preferred, by logistic regression on differences of TF-IDF vectors."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    analyzer, ngrams = ("char", (1, 3)) if chinese else ("word", (1, 2))
    vectors = tfidf([text for pair in known for text in pair], analyzer=analyzer, ngram_range=ngrams)

    def difference(pairs: Sequence[Pair]) -> object:
        first, second = (vectors.transform([pair[at] for pair in pairs]) for at in (0, 1))
        return first - second

    rows = difference(known)
    # Each pair both ways, so that nothing is learned but the difference.
    machine = LogisticRegression(C=10.0, max_iter=1000, fit_intercept=False)
    machine.fit(sparse.vstack([rows, -rows]), [1] * len(known) + [0] * len(known))  # type: ignore[operator]
    return [float(margin) for margin in machine.decision_function(difference(asked))]


def _chinese(examples: Sequence[Example]) -> bool:
    return 2 * sum(example.metadata.get("language") == "zh" for example in examples) > len(examples)
