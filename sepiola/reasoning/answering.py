"""The verbs of a model that answers questions: one or many, by its own strategy or by another."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from sepiola.data.example import Example
from sepiola.data.image import AnyImage, ImageRef
from sepiola.errors import SepiolaError, shown
from sepiola.generation.image_features import ImageEncoder
from sepiola.reasoning.answer import Answer, Reply
from sepiola.reasoning.asking import default_asking, question_example
from sepiola.reasoning.classifying import OnDone
from sepiola.reasoning.strategies import Answers, Strategy, replying_of, strategy_of
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.strategy import StrategySpec
from sepiola.text.chat import ChatTemplate


class Asked(Answers, Protocol):
    """What asking needs of a model; without `answering` it is asked as its template says."""

    answering: AnsweringSpec | None

    @property
    def template(self) -> ChatTemplate | None: ...
    @property
    def image_encoder(self) -> ImageEncoder | None: ...
    @property
    def asking(self) -> AnsweringSpec: ...
    def strategy(self, *, score: bool | None = None) -> Strategy: ...


Model = TypeVar("Model", bound=Asked)


class AnswersQuestions:
    """The verbs."""

    def ask(
        self: Asked,
        question: str,
        *,
        image: AnyImage | Sequence[AnyImage] | None = None,
        choices: Sequence[str] = (),
        hint: str = "",
        strategy: StrategySpec | Mapping[str, object] | str | None = None,
    ) -> Reply:
        """Answers one question about any picture (or none), in English or Chinese. Raises DataError for a picture that
        the model does not see. With `choices` the answer is one of them, with a probability for each. A two-stage model
        writes its rationale first. A classifier knows its labels; of two texts it takes the premise as `hint`. Another
        `strategy` than the model's own is a recipe's, keys or a name: `{"kind": "self-consistency", "chains": 8}`. It
        scores the choices too, unless it says `by: generate`, or chains vote, of which none may name one.
        """
        if isinstance(choices, str):
            raise SepiolaError(f"choices is {shown(choices)}; expected several texts")
        choices, sees = tuple(choices) or self.spec.labels, self.spec.sees and self.asking.images
        example = question_example(question, ImageRef.each_of(image), choices, hint, sees=sees)
        asking = None if strategy is None else self.asking.by(strategy, "score" if choices else "generate")
        chosen = self.strategy(score=bool(choices)) if asking is None else strategy_of(self, asking)
        answer = chosen.answer([example])[0]
        text = choices[answer.choice] if answer.choice is not None else answer.output
        of_chains = answer.confidence, answer.chains
        return Reply(text, answer.rationale, answer.probabilities, answer.choice, choices, *of_chains)

    def answer(self: Asked, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        """Answers many questions by the model's own strategy; where none is asked, replies to the messages."""
        if self.spec.classifier is None and examples and all(example.question is None for example in examples):
            return replying_of(self, self.asking).answer(examples, on_done=on_done)
        return self.strategy().answer(examples, on_done=on_done)

    def blind(self: Model) -> Model:
        """The same model without its vision encoder: it reads the text alone."""
        model = copy.copy(self)
        model.answering = self.asking.model_copy(update={"images": False})
        return model

    def by(self: Model, strategy: StrategySpec | Mapping[str, object] | str) -> Model:
        """The same model that answers by another strategy. Raises SpecError for one that is none."""
        model = copy.copy(self)
        model.answering = self.asking.by(strategy)
        return model

    @property
    def asking(self: Asked) -> AnsweringSpec:
        """How questions are put to this model (`sepiola.reasoning.asking`)."""
        return self.answering or default_asking(chats=self.template is not None)

    def strategy(self: Asked, *, score: bool | None = None) -> Strategy:
        """How this model answers, as it was trained to; `score` overrides choosing by likelihood."""
        asking = self.asking
        if score is not None:
            chosen = asking.strategy.model_copy(update={"by": "score" if score else "generate"})
            asking = asking.model_copy(update={"strategy": chosen})
        return strategy_of(self, asking)
