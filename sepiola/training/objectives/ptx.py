"""Text beside reinforcement, so that a policy keeps what it was pretrained on (PPO-ptx, InstructGPT, arXiv 2203.02155,
section 3.5): each step also minimises the cross-entropy of some text, `weight` times (the paper's γ).

Both are means: the policy's loss over the labels of its completions, the text's over its own. Text has an order and
batches of its own, each of its samples once an epoch, and stands in the state of a run. Dropout is off, as in all that
a policy learns by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from torch import nn

from sepiola.data.batching import Batch
from sepiola.specs.base import Plain, Spec
from sepiola.specs.data import DataSpec
from sepiola.training.batches import Batches, SampleBatches
from sepiola.training.loss import Loss
from sepiola.training.objectives.writing import language_modelling
from sepiola.training.ranks import Ranks


class PtxSpec(Spec):
    """Which text, of one source or of several put together, and its `weight`. A batch has `batch` samples (absent, as
    many as the stage's), plain text in windows of `target_tokens` (absent, the stage's).
    """

    data: Annotated[tuple[DataSpec, ...], Field(min_length=1)]
    weight: PositiveFloat = 27.8
    batch: PositiveInt | None = None
    target_tokens: PositiveInt | None = None

    @field_validator("data", mode="before")
    @classmethod
    def _one_or_several(cls, raw: object) -> object:
        return (raw,) if isinstance(raw, Mapping) else raw


@dataclass(frozen=True)
class PtxBatch(Batch):
    """Text, whose labels are not the policy's: `labelled` is 0. `share` is how many labels the step's completions have
    for each label of its text.
    """

    share: float


class PtxBatches:
    """The batches of a policy, and in each step those of text behind them."""

    whole = False

    def __init__(self, policy: Batches, text: SampleBatches) -> None:
        self.policy = policy
        self.text = text

    @property
    def steps_per_epoch(self) -> int:
        """The policy's."""
        return self.policy.steps_per_epoch

    @property
    def epoch(self) -> float:
        """The policy's."""
        return self.policy.epoch

    @property
    def counts(self) -> Mapping[str, int]:
        """The policy's, and how many samples of text there are."""
        return {**self.policy.counts, "ptx_samples": self.text.counts["samples"]}

    @property
    def ranks(self) -> Ranks:
        """Which share steps."""
        return self.policy.ranks

    @ranks.setter
    def ranks(self, ranks: Ranks) -> None:
        self.policy.ranks = self.text.ranks = ranks

    def next(self) -> list[Batch]:
        """The rank's batches of the next step."""
        own, text = self.policy.next(), self.text.next()
        every = self.ranks.gather(tuple(sum(batch.labelled for batch in some) for some in (own, text)))
        completions, texts = (sum(counts) for counts in zip(*every, strict=True))
        return [*own, *(_beside(batch, completions / max(texts, 1)) for batch in text)]

    def once(self) -> Iterator[Batch]:
        """The policy's: a policy is validated by its reward."""
        return self.policy.once()

    def peek(self, steps: int) -> list[list[Batch]]:
        """The batches of some steps."""
        text = self.text.peek(steps)
        policy = self.policy.peek(steps)
        return [[*step, *(_beside(batch, 1.0) for batch in text[n % len(text)])] for n, step in enumerate(policy)]

    def largest(self) -> Batch:
        """The one with the most places."""
        return max(self.policy.largest(), _beside(self.text.largest(), 1.0), key=_places)

    def state(self) -> Plain:
        """Where both stand."""
        return {"policy": self.policy.state(), "text": self.text.state()}

    def restore(self, state: Plain) -> None:
        """Goes on where `state` stood."""
        self.policy.restore(state["policy"])
        self.text.restore(state["text"])

    def fingerprint(self) -> str:
        """Of both."""
        return f"{self.policy.fingerprint()}-{self.text.fingerprint()}"


def ptx_loss(model: nn.Module, batch: PtxBatch, weight: float) -> Loss:
    """The weighted cross-entropy of text, beside the loss that is reported; `ptx_loss` is its mean, in nats a token."""
    model.eval()
    nats = language_modelling(model, batch).loss_sum * batch.share
    return Loss(nats.new_zeros(()), 0, extra=weight * nats, parts={"ptx_loss": nats.detach()})


def _beside(batch: Batch, share: float) -> PtxBatch:
    return PtxBatch(**{**vars(batch), "labelled": 0}, share=share)


def _places(batch: Batch) -> int:
    return batch.target.numel() + (0 if batch.source is None else batch.source.numel())
