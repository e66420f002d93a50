"""The score of a reward model that was trained here (objective `reward`), as PPO of InstructGPT has it (2203.02155).

It reads prompts and replies laid out as the policy writes them, pictures and end token too; a reward model of another
chat template or layout is refused, for its scores would be of something that it never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal

from sepiola.checkpoints import store
from sepiola.checkpoints.loading import folder_of, load
from sepiola.data.example import Example
from sepiola.errors import SpecError
from sepiola.reasoning.asking import read_strategy
from sepiola.reasoning.reward import RewardModel, words_of
from sepiola.text.chat import ChatTemplate
from sepiola.training.rewards.contract import RewardSpec, Written


class LearnedSpec(RewardSpec):
    """`model` is a run, a checkpoint folder or a Hub id of a reward model."""

    kind: Literal["learned"]
    model: str

    def check_words(self, words: str) -> None:
        """Raises SpecError where the reward model was trained on conversations that are laid out otherwise; a linear
        one reads what messages say, however they are laid out.
        """
        folder = folder_of(self.model)
        if (folder / store.SPEC).is_file() and store.read(folder)[0].linear_reward is not None:
            return
        answering = read_strategy(folder)
        own = words_of(ChatTemplate.load(folder), answering.layout if answering is not None else None)
        if own != words:
            raise SpecError(
                f"reward.model: {self.model} reads conversations by {own}, and the policy writes by {words}: train "
                "both in the same words, or let it judge in its own (reward: {kind: judge})"
            )


class Learned:
    """A reward model's score."""

    spec: ClassVar[type[RewardSpec]] = LearnedSpec

    def __init__(self, spec: RewardSpec) -> None:
        assert isinstance(spec, LearnedSpec)
        self.path = spec.model

    @cached_property
    def model(self) -> RewardModel:
        """Loaded when the first completion is judged. Raises CheckpointError and SepiolaError for another model."""
        read = load(self.path)
        return RewardModel.of(read._replace(answering=read_strategy(read.folder)))

    def score(self, examples: Sequence[Example], written: Sequence[Written]) -> list[float]:
        return self.model.replies(examples, [(one.text, one.ended) for one in written])
