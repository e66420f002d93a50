"""Rejection sampling, which reinforcement is compared with: the policy learns the right ones of its own replies."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from sepiola.training.loss import Loss
from sepiola.training.objectives.grpo import GRPO
from sepiola.training.objectives.reinforcement import described
from sepiola.training.policy import Measured, RolloutBatch, chosen_states, log_probabilities
from sepiola.training.rollouts import Step


class RejectionSampling(GRPO):
    """Learns the right ones of its own replies by their cross-entropy, each of them once a rollout."""

    @property
    def merges(self) -> bool:
        return True

    def measured(self, batch: RolloutBatch) -> Measured:
        """Nothing: there are no ratios."""
        return {}

    def teaching(self, rewards: Tensor) -> Tensor:
        return rewards >= 1

    def credited(self, steps: list[Step], rewards: Tensor) -> list[Step]:
        """Right ones count alike, and wrong ones (a step has one, where all are) not at all."""
        return [[replace(batch, weights=(batch.rewards >= 1)[batch.rows].float()) for batch in step] for step in steps]

    def rollout_loss(self, model: nn.Module, batch: RolloutBatch) -> Loss:
        log_probs, entropies = log_probabilities(model, chosen_states(model, batch), batch, self.rl.temperature)
        assert batch.weights is not None
        shown = described(batch, entropy=entropies.sum())
        return Loss(-(log_probs * batch.weights).sum(), batch.labelled, parts=shown)
