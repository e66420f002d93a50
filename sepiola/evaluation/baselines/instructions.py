"""Baselines of instructions: the request's own words, the most frequent reply, and the reply to the nearest request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sepiola.data.example import Example
from sepiola.evaluation.baselines.questions import tfidf


def instruction_baselines(train: Sequence[Example], asked: Sequence[Example]) -> dict[str, list[str]]:
    """What each baseline replies to the requests, all of one kind and language.

    Without training examples only `copy` is left. The nearest request is that of the largest cosine of TF-IDF vectors
    of characters. Needs the `eval` extra.
    """
    replies = {"copy": [str(example.metadata.get("input", example.prompt)) for example in asked]}
    if train:
        counts = Counter(example.target for example in train)
        commonest = min(counts, key=lambda reply: (-counts[reply], reply))
        replies["majority"] = [commonest] * len(asked)
        vectors = tfidf([example.prompt for example in train], analyzer="char_wb", ngram_range=(1, 4))
        known = vectors.transform([example.prompt for example in train])
        near = vectors.transform([example.prompt for example in asked]) @ known.T
        replies["nearest"] = [train[int(np.argmax(row.toarray()))].target for row in near]
    return replies
