"""Replies that are rated by attributes (LaMDA, arXiv 2201.08239): what a model's ratings make of a reply, and a judge,
which rates and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from sepiola.data.example import Example, Message
from sepiola.errors import DataError, SepiolaError, shown
from sepiola.models.classifier import Classifier
from sepiola.reasoning.classifying import ClassifierStrategy
from sepiola.specs.rating import AttributeSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.chat import as_messages
from sepiola.text.processor import Processor
from sepiola.text.rated_replies import LABELS, reply_pair
from sepiola.text.tokenizer import Tokenizer

Turn = Message | Mapping[str, object]


@dataclass(frozen=True)
class Candidate:
    """One reply, drawn so many `times`, with the probability of a 1 of each attribute and the sum that it is ranked by.
    `dropped` says why it is out of the question, None for one that may be said; `below` names the attributes that are
    under their thresholds.
    """

    text: str
    ratings: Mapping[str, float]
    score: float
    dropped: str | None = None
    times: int = 1
    below: tuple[str, ...] = ()


class Rates(Protocol):
    """What rating asks of a model."""

    @property
    def network(self) -> nn.Module: ...
    @property
    def processor(self) -> Processor: ...
    @property
    def asking(self) -> AnsweringSpec: ...
    def require_tokenizer(self) -> Tokenizer: ...


class Rater(Protocol):
    """What rates replies."""

    def rate(self, context: str | Sequence[Turn], replies: Sequence[str]) -> list[dict[str, float]]: ...
    def judge(self, context: str | Sequence[Turn], reply: str) -> Candidate: ...


class Judge:
    """A classifier of dialogues and replies by one attribute. Raises SepiolaError for one of other things."""

    def __init__(self, model: Rates) -> None:
        self.attributes = attributes_of(model.processor)
        network = model.network
        if not isinstance(network, Classifier) or network.classifier_spec.labels != LABELS or len(self.attributes) != 1:
            raise SepiolaError("this model tells other things apart than the rating of a reply by one attribute")
        tokenizer, length = model.require_tokenizer(), model.asking.source_tokens
        self.classifier = ClassifierStrategy(network, tokenizer, source_tokens=length)

    def rate(self, context: str | Sequence[Turn], replies: Sequence[str]) -> list[dict[str, float]]:
        """The probability of a 1, for each reply to a context: its turns, or one text.

        Raises DataError for a context without a turn, and without replies.
        """
        if isinstance(replies, str) or not replies:
            raise DataError(f"replies is {shown(replies)}; expected a list of texts")
        said, (attribute,) = turns(context), self.attributes
        return [{attribute.name: rating} for rating in self.rate_each([(said, reply) for reply in replies])]

    def rate_each(self, replies: Sequence[tuple[Sequence[Message], str]]) -> list[float]:
        """The probability of a 1 of each reply in its dialogue."""
        pairs = [Example(str(i), (), "", question=reply_pair(*each)) for i, each in enumerate(replies)]
        return [(answer.probabilities or ())[1] for answer in self.classifier.answer(pairs)]

    def judge(self, context: str | Sequence[Turn], reply: str) -> Candidate:
        """One reply by its rating."""
        return judged(self.attributes, reply, self.rate(context, [reply])[0])


def attributes_of(processor: Processor) -> Sequence[AttributeSpec]:
    """What a model was taught to rate replies by. Raises SepiolaError for one that was not."""
    if processor.attributes is None:
        raise SepiolaError(
            "this model was not taught to rate replies: train it with the objective generate-and-rate "
            "(recipes/lamda/dialogue.yaml), or with entailment and an attribute (recipes/lamda/judge.yaml)"
        )
    return processor.attributes


def judged(attributes: Sequence[AttributeSpec], text: str, ratings: Mapping[str, float], times: int = 1) -> Candidate:
    """A reply by its ratings: its score, and why it is dropped, if it is."""
    good = {attribute.name: attribute.goodness(ratings[attribute.name]) for attribute in attributes}
    below = [(a, a.goodness(a.threshold)) for a in attributes if a.threshold is not None and good[a.name] < a.threshold]
    reasons = [f"{a.name} {ratings[a.name]:.3f}, wanted at {'least' if a.good else 'most'} {at:g}" for a, at in below]
    reasons = reasons if text else ["it says nothing", *reasons]
    score = sum(attribute.weight * good[attribute.name] for attribute in attributes)
    return Candidate(text, ratings, score, "; ".join(reasons) or None, times, tuple(a.name for a, _ in below))


def turns(context: str | Sequence[Turn]) -> list[Message]:
    """A dialogue as messages; a text is one turn of the user's."""
    return [Message("user", (context,))] if isinstance(context, str) else as_messages(context)
