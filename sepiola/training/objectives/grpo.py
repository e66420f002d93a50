"""Group relative policy optimisation (GRPO, DeepSeekMath, arXiv 2402.03300): no value model, for the completions of one
prompt are each other's baseline.

A completion's advantage is its reward less the mean of its group, over the group's standard deviation (unbiased, plus
1e-4). Each token's ratio to the policy that drew it is clipped as in PPO, and k3 to the reference stands in the loss.
`loss` says how tokens are averaged: `grpo` within each completion first; `bnpo` over a batch's tokens; `dr_grpo` (arXiv
2503.20783) by the longest that a completion may be, so that long wrong ones are not spared; `dapo` (2503.14476) over
all tokens of a step. With `importance: sequence` all tokens of a completion have its ratio, the geometric mean of
theirs (GSPO, 2507.18071, whose loss is `grpo`). Names, defaults and figures are trl's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.training.loss import Loss
from sepiola.training.objectives.reinforcement import (
    Reinforcement,
    ReinforcementSpec,
    clipped,
    described,
    k3,
    validation_loss,
)
from sepiola.training.policy import Measured, RolloutBatch, chosen_states, log_probabilities, row_sums
from sepiola.training.rollouts import Step

LossKind = Literal["grpo", "bnpo", "dr_grpo", "dapo"]
Scale = Literal["group", "batch", "mean", "none"]
DEVIATION = 1e-4
"""Is added to what rewards are divided by."""


class GRPOSpec(ReinforcementSpec):
    """`scale` divides advantages by the rewards' standard deviation in the `group` or in the rollout (`batch`), by the
    size of their `mean` in the group (MaxRL, 2602.02710: rewards of 0 and 1 raise the logarithm of their likelihood
    then, so that what is seldom right counts more), or not at all. `beta` weighs the KL; at 0 no reference is
    kept. A ratio counts from 1 − `epsilon_low` to 1 + `epsilon_high`.
    """

    kind: Literal["grpo"]
    loss: LossKind = "dapo"
    importance: Literal["token", "sequence"] = "token"
    scale: Scale = "group"
    beta: NonNegativeFloat = 0.0
    epsilon_low: PositiveFloat = 0.2
    epsilon_high: PositiveFloat = 0.2

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError also for groups of one."""
        super().check(model, stage)
        if self.samples < 2:
            raise ValueError(f"'{stage.name}': grpo compares the completions of one prompt; give samples: 2 or more")


class GRPO(Reinforcement):
    """The clipped policy loss over groups."""

    spec: ClassVar[type[ObjectiveSpec]] = GRPOSpec

    @property
    def keeps_reference(self) -> bool:
        return bool(self.rl.beta)

    @property
    def merges(self) -> bool:
        """But where a batch's own tokens count alike, whatever they are worth in others."""
        return bool(self.rl.loss != "bnpo")

    def teaching(self, rewards: Tensor) -> Tensor:
        """Without a KL, groups whose rewards differ: the gradient of any other is 0 (DAPO, section 3.2)."""
        if self.rl.beta or self.rl.loss == "bnpo":
            return super().teaching(rewards)
        return differing(rewards)

    def measured(self, batch: RolloutBatch) -> Measured:
        """Old log-probabilities only where the policy will have moved."""
        if self.rl.iterations * self.rl.minibatches > 1:
            return super().measured(batch)
        return {"reference": self.reference_of(batch)}

    def credited(self, steps: list[Step], rewards: Tensor) -> list[Step]:
        """Each label has its completion's advantage."""
        worth = advantages(rewards, self.rl.scale).flatten()
        credited = []
        for step in steps:
            weights = token_weights(step, self.rl.loss, self.stage.target_tokens)
            batches = []
            for batch, weight in zip(step, weights, strict=True):
                assert batch.numbers is not None
                rows = worth[batch.numbers]
                batches.append(replace(batch, advantages=rows[batch.rows], weights=weight * batch.multiples))
            credited.append(batches)
        return credited

    def rollout_loss(self, model: nn.Module, batch: RolloutBatch) -> Loss:
        """See `grpo`."""
        return grpo(model, batch, self.rl)


def differing(rewards: Tensor) -> Tensor:
    """Which of the completions `(prompts, samples)` are of a group that is not paid alike."""
    return (rewards != rewards[:, :1]).any(1, keepdim=True).expand_as(rewards)


def advantages(rewards: Tensor, scale: Scale) -> Tensor:
    """Of rewards `(prompts, samples)`, as many."""
    centred = rewards - rewards.mean(1, keepdim=True)
    if scale == "none":
        return centred
    if scale == "mean":
        return centred / (rewards.mean(1, keepdim=True).abs() + DEVIATION)
    deviation = rewards.std(1, keepdim=True) if scale == "group" else rewards.std()
    return centred / (deviation + DEVIATION)


def token_weights(step: Sequence[RolloutBatch], loss: LossKind, longest: int) -> list[Tensor]:
    """What each label counts, so that the mean over the labels that are laid out is the loss of that kind: that of all
    completions of the step.
    """
    labels = sum(batch.labelled for batch in step)
    rows, every = step[0].step or (sum(len(batch.lengths) for batch in step), labels)
    each: list[Tensor] = []
    for batch in step:
        if loss == "grpo":
            lengths = torch.tensor(batch.lengths)
            each.append(labels / (rows * lengths[batch.rows].float()))
        else:
            batches, labelled = batch.part_of or (len(step), batch.labelled)
            counted = {"bnpo": batches * labelled, "dr_grpo": rows * longest, "dapo": every}[loss]
            each.append(torch.full((batch.labelled,), labels / max(counted, 1)))
    return each


def grpo(model: object, batch: RolloutBatch, spec: GRPOSpec) -> Loss:
    """The loss of a batch, by its weights."""
    if batch.advantages is None:
        return validation_loss(batch)
    log_probs, entropies = log_probabilities(model, chosen_states(model, batch), batch, spec.temperature)
    losses, parts = token_losses(log_probs, batch, spec)
    assert batch.weights is not None
    shown = described(batch, entropy=entropies.sum(), **parts)
    return Loss((losses * batch.weights).sum(), batch.labelled, parts=shown)


def token_losses(log_probs: Tensor, batch: RolloutBatch, spec: GRPOSpec) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of each label, unweighted, and what is reported of all labels, summed."""
    worth = batch.advantages
    assert worth is not None
    log_ratio = log_probs - (log_probs.detach() if batch.old is None else batch.old)
    if spec.importance == "sequence":
        log_ratio = row_means(log_ratio, batch)[batch.rows]
    ratio = log_ratio.exp()
    losses, outside = clipped(ratio, worth, spec.epsilon_low, spec.epsilon_high)
    parts = {"clip_fraction": outside.sum()}
    if batch.reference is not None:
        divergence = k3(log_probs, batch.reference)
        losses = losses + spec.beta * divergence
        parts["kl"] = divergence.sum()
    return losses, parts


def row_means(values: Tensor, batch: RolloutBatch) -> Tensor:
    """The means of labels' numbers over each row; 0 for a row without labels."""
    return row_sums(values, batch) / batch.chosen.sum(1).clamp(min=1)
