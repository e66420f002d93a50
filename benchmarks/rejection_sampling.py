"""Rejection sampling, which reinforcement is compared with: the policy learns the right ones of its own replies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sepiola.data.batching import Batch
from sepiola.training.loss import Loss
from sepiola.training.objectives.grpo import GRPO
from sepiola.training.objectives.reinforcement import described, only_rollout
from sepiola.training.policy import chosen_states, log_probabilities
from sepiola.training.rollouts import Step


class RejectionSampling(GRPO):
    """Learns the right ones of its own replies by their cross-entropy, each of them once a rollout."""

    def teaching(self, rewards: Tensor) -> Tensor:
        return rewards >= 1

    def credited(self, steps: list[Step], rewards: Tensor) -> list[Step]:
        return [[self._once(batch) for batch in step] for step in steps]

    def _once(self, batch: Any) -> Any:
        """Replies that stand in the batch twice count once, and wrong ones (where all are) not at all."""
        seen: set[tuple[object, ...]] = set()
        first = []
        for identity, row, reward in zip(batch.ids, batch.labels.tolist(), batch.rewards.tolist(), strict=True):
            key = (identity, *row)
            first.append(float(reward >= 1 and key not in seen))
            seen.add(key)
        weights = torch.tensor(first)[batch.rows]
        return replace(batch, weights=weights * len(weights) / weights.sum().clamp(min=1), advantages=weights)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        rollout = only_rollout(batch)
        log_probs, entropies = log_probabilities(model, chosen_states(model, rollout), rollout, self.rl.temperature)
        assert rollout.weights is not None
        shown = described(rollout, entropy=entropies.sum())
        return Loss(-(log_probs * rollout.weights).sum(), rollout.labelled, parts=shown)
