"""The spec of a classifier: a linear layer on a language model that answers a question by one of several labels, or
scores a text (a reward model).

It follows GPT-1 (Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018, section 3.3).
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from sepiola.specs.base import Spec
from sepiola.specs.values import TokenId

ClassifierKind = Literal["classification", "entailment", "similarity", "multiple-choice"]
Pooling = Literal["last", "mean"]


class ClassifierTokens(Spec):
    """Ids of a classifier's tokens: before a sequence, between its texts, after it. They come after the vocabulary, or
    are tokens that the vocabulary has (BERT's `[CLS]` and `[SEP]`).
    """

    start: TokenId
    delimiter: TokenId
    extract: TokenId


class ClassifierSpec(Spec):
    """What a linear layer on a language model tells apart.

    `labels` are the answers. Multiple choice has none, for each question brings its own options. Without `tokens` a
    sequence is one text as it is (the Hub's `…ForSequenceClassification`). A `reward` model has neither: the layer
    gives one score to a text or a conversation as it is. `pooling` is what the layer reads of a sequence: the state at
    its last token, or the mean of its states (Sentence-BERT, arXiv 1908.10084), as reward models on an encoder do.
    """

    kind: ClassifierKind | Literal["reward"]
    labels: tuple[str, ...] = ()
    tokens: ClassifierTokens | None = None
    pooling: Pooling = "last"

    @model_validator(mode="after")
    def _fits(self) -> ClassifierSpec:
        if self.kind == "reward":
            if self.labels or self.tokens is not None:
                raise ValueError("reward: a score has no labels, and reads the text as it is, without tokens")
            return self
        if self.kind == "multiple-choice" and self.labels:
            raise ValueError("labels: multiple choice has none; each question brings its own options")
        if self.kind != "multiple-choice" and len(self.labels) < 2:
            raise ValueError(f"labels: {self.kind} tells at least two apart, got {len(self.labels)}")
        if self.kind != "classification" and self.tokens is None:
            raise ValueError(f"tokens: {self.kind} reads two texts, and needs a delimiter between them")
        return self
