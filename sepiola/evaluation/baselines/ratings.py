"""Baselines of ratings: a logistic regression over TF-IDF of words and their pairs, of context and reply or of the
reply alone. What the reply alone tells needs no understanding of the dialogue.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sepiola.data.example import Example
from sepiola.evaluation.baselines.questions import tfidf


def rating_baselines(
    train: Sequence[Example], labels: Sequence[int], asked: Sequence[Example]
) -> dict[str, list[float]]:
    """The probability of a 1 of every asked example by each baseline, `tfidf` and `reply_alone`; none where the labels
    are all one. Needs the `eval` extra.
    """
    if len({*labels}) < 2:
        return {}
    replies = tfidf([e.target for e in train], "word", (1, 2))
    contexts = tfidf([e.prompt for e in train], "word", (1, 2))
    from scipy.sparse import hstack
    from sklearn.linear_model import LogisticRegression

    def rows(examples: Sequence[Example], *, alone: bool) -> object:
        said = replies.transform([e.target for e in examples])
        return said if alone else hstack([said, contexts.transform([e.prompt for e in examples])]).tocsr()

    found = {}
    for name, alone in (("tfidf", False), ("reply_alone", True)):
        model = LogisticRegression(C=10.0, max_iter=1000, random_state=0).fit(rows(train, alone=alone), list(labels))
        shares = np.asarray(model.predict_proba(rows(asked, alone=alone)))[:, 1]
        found[name] = [float(share) for share in shares]
    return found
