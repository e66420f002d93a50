"""What an objective is: one file, with the spec of its own fields, and one line in `OBJECTIVES`.

A run gives it a `Setting`. The objective prepares the network, makes batches of Examples, and computes the loss; the
trainer knows nothing else of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol

from torch import nn

from sepiola.data.batching import Batch
from sepiola.data.example import Example
from sepiola.errors import SpecError
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import Plain
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.specs.strategy import StrategySpec
from sepiola.text.chat import ChatTemplate
from sepiola.text.processor import Processor
from sepiola.text.prompts import PromptFormat
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import Batches, ImageInputs
from sepiola.training.loss import Loss


class Setting(Protocol):
    """What a run tells the objective of one of its stages."""

    seed: int
    images: bool
    """Whether the run shows pictures."""

    @property
    def spec(self) -> ModelSpec: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def qformer_tokenizer(self) -> Tokenizer | None: ...
    @property
    def template(self) -> ChatTemplate | None: ...
    def read(self, data: DataSpec) -> list[Example]: ...
    def rationales(self, examples: Sequence[Example], *, generated: bool) -> Mapping[str, str]: ...
    def rationales_key(self, *, generated: bool) -> str: ...
    def trained(self, name: str) -> tuple[nn.Module, ModelSpec]: ...
    def answers(
        self,
        stage: str,
        examples: Sequence[Example],
        strategy: StrategySpec,
        network: nn.Module | None = None,
        runtime: str = "torch",
        bits: int | None = None,
    ) -> list[Answer]: ...
    def answers_key(self, stage: str) -> str: ...
    def probabilities(self, teacher: str, examples: Sequence[Example]) -> Sequence[Sequence[float]]: ...


class Objective(Protocol):
    """What a stage learns by. What is defined here holds unless an objective says otherwise."""

    spec: ClassVar[type[ObjectiveSpec]]
    methods: ClassVar[tuple[str, ...]] = ("states",)
    """The model's methods that the loss enters, by which distributed training hooks into it."""

    stage: StageSpec
    setting: Setting

    def __init__(self, stage: StageSpec, setting: Setting) -> None:
        self.stage = stage
        self.setting = setting

    def model(self) -> ModelSpec:
        """The spec of what the stage leaves."""
        return self.setting.spec

    def identity(self) -> list[object]:
        """What decides the stage's weights beside the stage, the seed and the weights that it begins with."""
        spec, qformer = self.setting.spec.model_dump(mode="json"), self.setting.qformer_tokenizer
        own = [] if qformer is None else [qformer.to_json()]
        return [spec, self.setting.tokenizer.to_json(), self.setting.images, *own]

    def prepare(self, network: nn.Module) -> nn.Module:
        """The module that trains, made of the network as the stage finds it."""
        return network

    def kept(self, trained: nn.Module) -> tuple[nn.Module, ModelSpec]:
        """What is saved of the module that `prepare` made."""
        return trained, self.model()

    def outcome(self) -> Plain:
        """What there is to say of the stage when it is done, beside its losses."""
        return {}

    def processor(self, processor: Processor) -> Processor:
        """What stands around the weights that the stage leaves."""
        return processor

    def answering(self) -> AnsweringSpec:
        """How the stage's model answers questions. Raises SpecError where it does not."""
        raise SpecError(f"strategy.answer: stage '{self.stage.name}' has no format, so it answers no questions")

    def replying(self) -> AnsweringSpec:
        """How the stage's model replies to messages without a question."""
        source, target = self.stage.source_tokens, self.stage.target_tokens
        return AnsweringSpec(images=self.setting.images, source_tokens=source, answer_tokens=target)

    @classmethod
    def texts(cls, stage: StageSpec, example: Example) -> Iterable[str]:
        """All that an example says, for a tokenizer that is trained on it."""
        whole = example if example.question is None else PromptFormat.parse("QCM-LEA").apply(example)
        return whole.prompt, whole.target

    def batches(self, data: DataSpec, images: ImageInputs) -> Batches: ...
    def loss(self, model: nn.Module, batch: Batch) -> Loss: ...
