"""What a reward model says of a completion: a checkpoint that scores texts (`sepiola.reasoning.reward`).

It reads the conversation in its own chat template, so that its prompt may look unlike the policy's; without a template,
prompt and completion as one text. Its score is read at the last token, found by the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal

from sepiola.checkpoints.loading import load
from sepiola.data.example import Example, Message
from sepiola.errors import SpecError
from sepiola.reasoning.reward import RewardModel, Scored
from sepiola.training.rewards.contract import RewardSpec, Written


class JudgeSpec(RewardSpec):
    """`model` is a run, a checkpoint folder or a Hub id of a reward model."""

    kind: Literal["judge"]
    model: str


class Judge:
    """A reward model's score."""

    spec: ClassVar[type[RewardSpec]] = JudgeSpec

    def __init__(self, spec: RewardSpec) -> None:
        assert isinstance(spec, JudgeSpec)
        self.path = spec.model

    @cached_property
    def model(self) -> RewardModel:
        """Loaded when the first completion is judged. Raises CheckpointError and SepiolaError for another model."""
        checkpoint = load(self.path)
        if checkpoint.processor.tokenizer is None:
            raise SpecError(f"reward.model: {self.path} has no tokenizer")
        return RewardModel(checkpoint.network, checkpoint.processor.tokenizer, checkpoint.processor.template)

    def score(self, examples: Sequence[Example], written: Sequence[Written]) -> list[float]:
        return self.model.score([self._read(e, one) for e, one in zip(examples, written, strict=True)])

    def _read(self, example: Example, one: Written) -> Scored:
        if self.model.template is None:
            return example.prompt + one.text
        return [*example.messages, Message("assistant", (one.text,))]
