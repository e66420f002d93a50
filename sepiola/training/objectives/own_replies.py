"""Ratings of a model's own replies (LaMDA, arXiv 2201.08239, section 5.1): what an earlier stage's model says to the
contexts of the data is rated by another one.

Which of several people's turns followed a context says little about which of several replies of one writer is the
better. LaMDA had people rate what it says itself; here a judge of replies does (recipe `lamda/judge`). Of all that the
writer says, the half that the judge rates highest is a 1, the rest a 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sepiola.data.example import Example
from sepiola.errors import TrainingError
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.row_draws import seed_of
from sepiola.reasoning.sample_and_rank import SAMPLING
from sepiola.runtime.plain import TorchExecutor
from sepiola.specs.data import DataSpec
from sepiola.specs.stage import ObjectiveSpec
from sepiola.specs.values import Name
from sepiola.training.objectives.generate_and_rate import WRITTEN, GenerateAndRate, RatingSpec
from sepiola.training.rewards.rated import judge_of


class OwnRepliesSpec(RatingSpec):
    """As `generate-and-rate`, and beside the data the `replies` that the model of the stage `writer` draws to each
    context, rated by `rater`, a run, a checkpoint folder or a Hub id of a judge of one of the `attributes`.
    """

    kind: Literal["rate-own-replies"]
    writer: Name
    rater: str
    replies: Annotated[int, Field(ge=1, le=1024)] = 6

    @property
    def asks(self) -> tuple[str, ...]:
        """The writer."""
        return (self.writer,)


class RatesOwnReplies(GenerateAndRate):
    """The cross-entropy of the data's replies and ratings, and of the judge's ratings of own replies, which are not
    learned as replies.
    """

    spec: ClassVar[type[ObjectiveSpec]] = OwnRepliesSpec

    @property
    def own(self) -> OwnRepliesSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, OwnRepliesSpec)
        return self.stage.objective

    def identity(self) -> list[object]:
        """With the weights of the writer."""
        return [*super().identity(), self.setting.answers_key(self.own.writer)]

    def examples(self, data: DataSpec) -> list[Example]:
        """With the own replies behind those of the stage's data; those of validation are the data's alone."""
        examples = super().examples(data)
        return [*examples, *self.rated(examples)] if data == self.stage.data else examples

    def rated(self, examples: Sequence[Example]) -> list[Example]:
        """What the writer says to each context, each text once, with its rating.

        Raises TrainingError for a judge of an attribute that the stage does not have, and where the writer says
        nothing.
        """
        judge = judge_of(self.own.rater)
        (attribute,) = judge.attributes
        names = [one.name for one in self.own.attributes]
        if attribute.name not in names:
            raise TrainingError(
                f"stage '{self.stage.name}': {self.own.rater} rates {attribute.name}, which is none of the stage's "
                f"attributes ({', '.join(names) or 'it has none'}); name a judge of one of these"
            )
        contexts = [*{example.prompt: example for example in examples}.values()]
        said = [
            (context, text)
            for context, texts in zip(contexts, self.drawn(contexts), strict=True)
            for text in dict.fromkeys(texts)
            if text
        ]
        if not said:
            raise TrainingError(
                f"stage '{self.stage.name}': '{self.own.writer}' says nothing to any of {len(contexts)} contexts; "
                "teach it to reply first, or give it more tokens (target_tokens)"
            )
        ratings = judge.rate_each([(context.messages, text) for context, text in said])
        middle = median(ratings)
        return [
            Example(
                f"{context.id}: own {place}",
                context.messages,
                text,
                metadata={WRITTEN: True, "ratings": {attribute.name: int(rating > middle)}},
            )
            for place, ((context, text), rating) in enumerate(zip(said, ratings, strict=True))
        ]

    def drawn(self, contexts: Sequence[Example]) -> list[list[str]]:
        """So many replies of the writer to each context, at temperature 1 among the 40 likeliest tokens."""
        network, _ = self.setting.trained(self.own.writer)
        layout, numbers = self.layout, range(self.own.replies)
        engine = Engine(TorchExecutor(network.eval()), ends=frozenset({layout.end, layout.response}))
        written = engine.generate(
            [Prompt(layout.context(context.messages)) for context in contexts],
            max_tokens=self.stage.target_tokens,
            sampling=SAMPLING,
            samples=self.own.replies,
            seeds=[[seed_of(self.setting.seed, context.id, number) for number in numbers] for context in contexts],
        )
        return [[layout.tokenizer.decode(ids).strip() for ids in rows] for rows in written]
