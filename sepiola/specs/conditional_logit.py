"""Spec of a conditional logit over hashed features of options, and of the training questions that vote in it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from sepiola.specs.base import Spec

Family = Literal["words", "templates", "hint", "endings", "form", "overlap", "order"]
FAMILIES: tuple[Family, ...] = ("words", "templates", "hint", "endings", "form", "overlap", "order")
Neighbours = Annotated[int, Field(ge=1, le=1000)]
Shape = tuple[Annotated[int, Field(ge=0, le=1 << 28)], ...]


class PictureVoteSpec(Spec):
    """Votes of the training questions of the same kind whose pictures, of `side` x `side` pixels, are nearest."""

    side: int = Field(default=32, ge=1, le=256)
    neighbours: Neighbours = 40


class TextVoteSpec(Spec):
    """Votes of the nearest pairs of a training question and one of its options: how alike are the questions, to the
    power of `question_power`, times how alike are the options, to that of `option_power`.

    They are compared by `tfidf`, words of questions and characters of options, or by the `states` of the model's
    language model, an encoder, averaged over a text's tokens.
    """

    by: Literal["tfidf", "states"] = "tfidf"
    neighbours: Neighbours = 10
    question_power: PositiveFloat = 4.0
    option_power: PositiveFloat = 1.0
    buckets: int = Field(default=1 << 18, ge=2, le=1 << 24)


class ConditionalLogitSpec(Spec):
    """A table of `buckets` weights over pairs of what a question and an option say, by `families` of features
    (`sepiola.text.option_features`), and the votes of training questions. Without `pictures` it reads text alone.

    `shapes` are those of what it remembers of its training questions: training fills them in.
    """

    buckets: int = Field(default=1 << 21, ge=2, le=1 << 28)
    families: tuple[Family, ...] = FAMILIES
    pictures: PictureVoteSpec | None = PictureVoteSpec()
    texts: tuple[TextVoteSpec, ...] = (TextVoteSpec(),)
    shapes: dict[str, Shape] = Field(default_factory=dict)
