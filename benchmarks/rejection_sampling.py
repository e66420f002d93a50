"""Rejection sampling, which reinforcement is compared with: the policy learns the best of its own replies.

Those are the ones of a prompt that are paid most, if they are paid at all (RAFT, arXiv 2304.06767): by a reward of 0 or
1 the right ones, and by one for parts of a reply also the best of wrong ones.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from sepiola.training.loss import Loss
from sepiola.training.objectives.grpo import GRPO
from sepiola.training.objectives.reinforcement import described
from sepiola.training.policy import Measured, RolloutBatch, chosen_states, log_probabilities
from sepiola.training.rollouts import Step


class RejectionSampling(GRPO):
    """Learns the best of its own replies by their cross-entropy: each once a rollout, however often it was written, so
    that what is seldom right counts as much as what is mostly right.
    """

    @property
    def merges(self) -> bool:
        return True

    def measured(self, batch: RolloutBatch) -> Measured:
        """Nothing: there are no ratios."""
        return {}

    def teaching(self, rewards: Tensor) -> Tensor:
        return best(rewards)

    def credited(self, steps: list[Step], rewards: Tensor) -> list[Step]:
        """The best count alike, and others (a step has one, where none is paid) not at all."""
        chosen = best(rewards).flatten().float()
        credited = []
        for step in steps:
            batches = []
            for batch in step:
                assert batch.numbers is not None
                batches.append(replace(batch, weights=chosen[batch.numbers][batch.rows]))
            credited.append(batches)
        return credited

    def rollout_loss(self, model: nn.Module, batch: RolloutBatch) -> Loss:
        log_probs, entropies = log_probabilities(model, chosen_states(model, batch), batch, self.rl.temperature)
        assert batch.weights is not None
        shown = described(batch, entropy=entropies.sum())
        return Loss(-(log_probs * batch.weights).sum(), batch.labelled, parts=shown)


def best(rewards: Tensor) -> Tensor:
    """Which of the completions `(prompts, samples)` are paid most of their prompt's, and more than nothing."""
    return (rewards == rewards.max(1, keepdim=True).values) & (rewards > 0)
