"""What a benchmark is given: the data and how to ask, and a model with several ways to be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from rich.console import Console

from sepiola.acting.retrieval import Retrieves
from sepiola.calling.constraints import ConstraintVocabulary
from sepiola.data.example import Example, Message
from sepiola.datasets import check_pictures, read_spec
from sepiola.errors import DataError
from sepiola.generation.example_generator import ExampleGenerator
from sepiola.generation.matcher import Compares
from sepiola.generation.text_scorer import TextScorer
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.reward import Scored
from sepiola.reasoning.strategies import OnDone, Strategy
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import DataSpec, FewShotSpec
from sepiola.text.processor import Processor


class MeasuredModel(Protocol):
    """What benchmarks ask of a model: `sepiola.api.Model` is one."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def rationale(self) -> object | None: ...

    @property
    def processor(self) -> Processor: ...

    @property
    def vocabulary(self) -> ConstraintVocabulary: ...

    def answer(self, examples: Sequence[Example], *, on_done: OnDone = None) -> list[Answer]: ...

    def blind(self) -> MeasuredModel: ...

    def strategy(self) -> Strategy: ...

    def score(self, items: Sequence[Scored]) -> list[float]: ...

    def rate(self, context: Sequence[Message], replies: Sequence[str]) -> list[dict[str, float]]: ...

    def example_generator(self, target_tokens: int) -> ExampleGenerator: ...

    def text_scorer(self, length: int | None = None) -> TextScorer: ...

    def retriever(self) -> Compares: ...


def no_training(reader: str | None) -> list[Example]:
    """Training examples of nothing."""
    return []


@dataclass(frozen=True)
class Settings:
    """One measurement as it is asked for.

    `training(reader)` gives the examples of a dataset (of any: None) that baselines learn from; text baselines of
    questions learn from `baseline_questions` at most. `compares`: the model was taught to compare pictures with texts,
    and not yet to write. A `retriever` chooses the functions that a request may call; `unconstrained` asks for calls
    without the constraint as well, and with `one_call` each reply is one call. What is expected of plain text is
    compared with what `base` expects. The last five are for prompted texts: the seed of shots and items, how many
    results are shown whole, the groups to test, the tokens that the model reads at most, and whether a chat model is
    asked in its template.
    """

    data: DataSpec
    console: Console = field(default_factory=lambda: Console(quiet=True))
    read: Callable[[DataSpec], Sequence[Example]] = read_spec
    training: Callable[[str | None], Sequence[Example]] = no_training
    baseline_questions: int | None = None
    few_shot: FewShotSpec | None = None
    compares: bool = False
    retriever: Retrieves | None = None
    unconstrained: bool = False
    one_call: bool = False
    base: MeasuredModel | None = None
    seed: int = 0
    show: int = 0
    only: tuple[str, ...] = ()
    length: int | None = None
    chat_template: bool = True

    @cached_property
    def examples(self) -> Sequence[Example]:
        """The data's examples, read once."""
        return self.read(self.data)

    def learnable(self, reader: str | None, *, look: bool = False) -> tuple[Sequence[Example], str]:
        """What baselines learn from, and where it cannot be read, why: a person may have the test set alone.

        Those that `look` at the pictures need them there.
        """
        try:
            known = self.training(reader)
            return check_pictures([*known]) if look else known, ""
        except DataError as error:
            return (), str(error)

    @property
    def what(self) -> str:
        """The data in words, for the progress bar."""
        return f"{self.data.reader} {self.data.split}"
