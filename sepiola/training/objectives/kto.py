"""Kahneman-Tversky optimisation (KTO, arXiv 2402.01306): replies that are desirable or not, each judged by itself.

The value of a desirable reply is σ(β (log π / π_ref − z)), that of another σ(β (z − log π / π_ref)), and the loss is
what each falls short of 1. z is the KL divergence of policy and reference, at least 0, estimated over a batch from
prompts with replies to other prompts, through which no gradient flows. Its reply is that of the prompt before.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from sepiola.data.batching import Batch, Sample
from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.errors import TrainingError
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.training.loss import Loss
from sepiola.training.objectives.preference import Direct, DirectSpec
from sepiola.training.rankings import Ranking, RankingBatch, ranked


class KTOSpec(DirectSpec):
    """A reply alone is desirable where its score is above 0. Of several to a prompt those are whose scores are above
    their mean, and those below it are not. A reply of either kind counts `desirable` or `undesirable`; without them the
    rarer kind counts so much more that both are worth the same.
    """

    kind: Literal["kto"]
    desirable: PositiveFloat | None = None
    undesirable: PositiveFloat | None = None

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError also for batches of one: z would be of that reply alone."""
        super().check(model, stage)
        if stage.batch < 2:
            raise ValueError(f"'{stage.name}': kto estimates a divergence over each batch; give batch: 2 or more")


class KTO(Direct):
    """What each reply's value falls short of 1. Each row of a batch is followed by its prompt with another's reply."""

    spec: ClassVar[type[ObjectiveSpec]] = KTOSpec
    whole: ClassVar[bool] = True

    @property
    def direct(self) -> KTOSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, KTOSpec)
        return self.stage.objective

    def rankings(self, examples: Sequence[Example]) -> list[Ranking]:
        """A record a reply that is desirable or not, with the reply of another prompt. Raises TrainingError where there
        is no other prompt.
        """
        prompts = self.laid_out_whole(examples)
        if len(prompts) < 2:
            raise TrainingError(f"stage '{self.stage.name}': kto needs replies to two prompts or more")
        before = [prompts[-1], *prompts[:-1]]
        records = [
            (part, other.parts[place % len(other.parts)], good)
            for prompt, other in zip(prompts, before, strict=True)
            for place, (part, good) in enumerate(zip(prompt.parts, judged(prompt.scores), strict=True))
            if good is not None
        ]
        weights = self._weights(Counter(good for *_, good in records))
        return [_record(part, other, good, weights[good]) for part, other, good in records]

    def left_out(self, examples: Sequence[Example], rankings: Sequence[Ranking]) -> dict[str, int]:
        """Replies that are neither desirable nor undesirable."""
        return {"tied_replies": sum(len(completions_of(example)) for example in examples) - len(rankings)}

    def _weights(self, counts: Counter[bool]) -> dict[bool, float]:
        most = max(counts.values(), default=0)
        given = {True: self.direct.desirable, False: self.direct.undesirable}
        return {kind: weight or most / max(counts[kind], 1) for kind, weight in given.items()}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `kto`."""
        batch = ranked(batch)
        return kto(self.likelihoods(model, batch), batch, self.direct.beta)


def judged(scores: Sequence[float]) -> list[bool | None]:
    """Whether each of a prompt's replies is desirable; None for one that is neither."""
    if len(scores) == 1:
        return [scores[0] > 0]
    middle = fmean(scores)
    return [None if score == middle else score > middle for score in scores]


def _record(part: Sample, other: Sample, good: bool, weight: float) -> Ranking:
    stranger = dataclasses.replace(part, id=f"{part.id}~", target=other.target)
    return Ranking(part.id, (part, stranger), (float(good),) * 2, weight=weight)


def kto(log_probs: Tensor, batch: RankingBatch, beta: float) -> Loss:
    """The loss of completions' log-probabilities `(rows,)`, of which every second is the other prompt's, summed."""
    assert batch.before is not None
    moved = log_probs - batch.before.to(log_probs)
    own, divergence = moved[0::2], moved[1::2].detach().mean().clamp(min=0.0)
    good = batch.rewards[0::2] > 0
    values = torch.sigmoid(beta * torch.where(good, own - divergence, divergence - own))
    losses = batch.prompt_weights.to(values) * (1 - values)
    figures = {
        "kl": divergence.expand_as(own),
        "log_prob": log_probs[0::2],
        "accuracy": ((own > divergence) == good).to(own),
        "desirable": good.to(own),
        "desirable_lead": beta * own * good,
        "undesirable_lead": beta * own * ~good,
    }
    return Loss(losses.sum(), batch.labelled, parts={name: each.detach().sum() for name, each in figures.items()})
