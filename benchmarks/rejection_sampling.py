"""Rejection sampling, which reinforcement is compared with: what learns is the best of a policy's own replies.

Those are the ones of a prompt that are paid most, if they are paid at all: by a reward of 0 or 1 the right ones, and by
one for parts of a reply also the best of wrong ones. Rejection sampling fine-tuning (RFT, arXiv 2308.01825) draws them
by the policy as it begins, and trains on them; online (RAFT, 2304.06767) each rollout is drawn by the policy of the
moment. DeepSeekMath (2402.03300) calls them RFT and Online RFT, and holds both beside GRPO.
"""

from __future__ import annotations

import time
from dataclasses import replace

from torch import Tensor, nn

from sepiola.data.example import Example
from sepiola.training.loss import Loss
from sepiola.training.objectives.grpo import GRPO
from sepiola.training.objectives.reinforcement import described
from sepiola.training.policy import Measured, RolloutBatch, chosen_states, log_probabilities
from sepiola.training.rewards.calls import Calls, calls_in
from sepiola.training.rollouts import Rollouts, Step


class OnlineRejectionSampling(GRPO):
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


def right_replies(rollouts: Rollouts, seconds: float) -> tuple[list[Example], float]:
    """For so many seconds of the processor asks one rollout after another; returns the requests with the calls that
    the policy wrote and that are paid, each reply once, and how long it took.
    """
    assert isinstance(rollouts.reward, Calls)
    right: dict[tuple[str, tuple[int, ...]], Example] = {}
    number, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        asked = rollouts.asked(number)
        completions, rewards = rollouts.drawn(asked)
        for place, (completion, paid) in enumerate(zip(completions, rewards.tolist(), strict=True)):
            example = rollouts.examples[asked[place // rollouts.fan]]
            said = calls_in(rollouts.as_written(completion), rollouts.reward.functions, example.today) if paid else None
            if said:
                calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in said]
                name = f"{example.id} {number} {place}"
                own = replace(example, id=name, metadata={**example.metadata, "calls": calls})
                right.setdefault((example.id, completion.ids), own)
        number += 1
    return [*right.values()], time.process_time() - began
