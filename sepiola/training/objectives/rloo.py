"""REINFORCE leave-one-out (RLOO, arXiv 2402.14740): a completion's baseline is the mean reward of its prompt's others.

A completion is one action: it is paid its reward less β times its KL to the reference, summed over its tokens (k1), and
its ratio to the policy that drew it is clipped as a whole. The loss is the mean over the completions of a step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.training.loss import Loss
from sepiola.training.objectives.grpo import DEVIATION, token_weights
from sepiola.training.objectives.reinforcement import (
    Reinforcement,
    ReinforcementSpec,
    clipped,
    described,
    k1,
    k3,
    validation_loss,
)
from sepiola.training.policy import RolloutBatch, chosen_states, log_probabilities, row_sums
from sepiola.training.rollouts import Step


class RLOOSpec(ReinforcementSpec):
    """`beta` weighs the KL; at 0 no reference is kept. With `normalised`, advantages of a rollout have the mean 0 and
    the deviation 1. A ratio counts from 1 − `epsilon_low` to 1 + `epsilon_high`.
    """

    kind: Literal["rloo"]
    beta: NonNegativeFloat = 0.05
    normalised: bool = False
    epsilon_low: PositiveFloat = 0.2
    epsilon_high: PositiveFloat = 0.2

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError also for groups of one."""
        super().check(model, stage)
        if self.samples < 2:
            raise ValueError(f"'{stage.name}': rloo compares the completions of one prompt; give samples: 2 or more")


class RLOO(Reinforcement):
    """The clipped policy loss of whole completions."""

    spec: ClassVar[type[ObjectiveSpec]] = RLOOSpec

    @property
    def keeps_reference(self) -> bool:
        return bool(self.rl.beta)

    def credited(self, steps: list[Step], rewards: Tensor) -> list[Step]:
        """Each label has its completion's advantage."""
        weighed, paid = [], rewards.flatten().clone()
        for step in steps:
            weights = token_weights(step, "grpo", self.stage.target_tokens)
            batches = []
            for batch, weight in zip(step, weights, strict=True):
                assert batch.numbers is not None and batch.old is not None
                if batch.reference is not None:
                    paid[batch.numbers] -= self.rl.beta * row_sums(k1(batch.old, batch.reference), batch)
                batches.append(replace(batch, weights=weight))
            weighed.append(batches)
        worth = leave_one_out(paid.view_as(rewards), normalised=self.rl.normalised).flatten()
        return [[replace(one, advantages=worth[one.numbers][one.rows]) for one in step] for step in weighed]

    def rollout_loss(self, model: nn.Module, batch: RolloutBatch) -> Loss:
        """See `rloo`."""
        return rloo(model, batch, self.rl)


def leave_one_out(rewards: Tensor, *, normalised: bool = False) -> Tensor:
    """The advantages of completions with rewards `(prompts, samples)`: each less the mean of the others."""
    others = (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    advantages = rewards - others
    return (advantages - advantages.mean()) / (advantages.std() + DEVIATION) if normalised else advantages


def rloo(model: object, batch: RolloutBatch, spec: RLOOSpec) -> Loss:
    """The loss of a batch, by its weights."""
    if batch.advantages is None:
        return validation_loss(batch)
    log_probs, entropies = log_probabilities(model, chosen_states(model, batch), batch, spec.temperature)
    losses, parts = completion_losses(log_probs, batch, spec)
    assert batch.weights is not None
    shown = described(batch, entropy=entropies.sum(), **parts)
    return Loss((losses * batch.weights).sum(), batch.labelled, parts=shown)


def completion_losses(log_probs: Tensor, batch: RolloutBatch, spec: RLOOSpec) -> tuple[Tensor, dict[str, Tensor]]:
    """At each label the loss of its whole completion, and what is reported of all labels, summed."""
    worth = batch.advantages
    assert worth is not None and batch.old is not None
    ratio = row_sums(log_probs - batch.old, batch).exp()[batch.rows]
    losses, outside = clipped(ratio, worth, spec.epsilon_low, spec.epsilon_high)
    parts = {"clip_fraction": outside.sum()}
    if batch.reference is not None:
        parts["kl"] = k3(log_probs, batch.reference).sum()
    return losses, parts
