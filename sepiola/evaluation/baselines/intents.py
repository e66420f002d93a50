"""Baselines of intents: what answers say, and how surely, without a model of ours. The most frequent intent rejects
nothing; a linear support vector machine over TF-IDF of words and their pairs is as sure as its largest margin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from sepiola.evaluation.baselines.questions import tfidf

Sureness = tuple[str, float]
"""An intent, and how surely a request is in scope."""


def intent_baselines(
    texts: Sequence[str], intents: Sequence[str], asked: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, list[Sureness]]]:
    """For each baseline and each set of `asked` requests, an intent and a score a request, learnt from requests in
    scope. Needs the `eval` extra.
    """
    (most, _), *_ = sorted(Counter(intents).items(), key=lambda item: (-item[1], item[0]))
    majority = {name: [(most, 0.0) for _ in some] for name, some in asked.items()}
    if len(set(intents)) < 2:
        return {"majority": majority}
    vectors = tfidf(list(texts), analyzer="word", ngram_range=(1, 2))
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=1.0, random_state=0).fit(vectors.transform(list(texts)), list(intents))
    linear: dict[str, list[Sureness]] = {}
    for name, some in asked.items():
        margins = np.asarray(machine.decision_function(vectors.transform(list(some))))
        # Of two intents there is one margin, from the first to the second.
        margins = np.stack((-margins, margins), axis=1) if margins.ndim == 1 else margins
        best = margins.argmax(axis=1)
        linear[name] = [(str(machine.classes_[b]), float(row[b])) for b, row in zip(best, margins, strict=True)]
    return {"majority": majority, "linear": linear}
