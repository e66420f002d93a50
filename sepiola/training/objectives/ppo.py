"""Proximal policy optimisation (PPO, arXiv 1707.06347), as language models are aligned by it (2203.02155).

A linear layer on the policy's states, the value head, foretells what is still to be earned; it lies on the model while
the stage lasts, and is not kept. A token earns −β times its KL to the reference, and a completion's last token, the end
token where there is one, the reward too. Advantages are generalised (GAE, 1506.02438) and whitened over the rollout;
policy and value losses are both clipped, and are means over the tokens of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from sepiola.nn.precision import autocast, resolve
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.training.loss import Loss
from sepiola.training.objectives.grpo import differing, token_weights
from sepiola.training.objectives.reinforcement import (
    Reinforcement,
    ReinforcementSpec,
    clipped,
    described,
    k1,
    k3,
    validation_loss,
)
from sepiola.training.policy import Measured, RolloutBatch, chosen_states, log_probabilities
from sepiola.training.rollouts import Step

VALUE_HEAD = "value_head"
Share = Annotated[float, Field(ge=0.0, le=1.0)]
KLS = {"k1": k1, "k3": k3}
TINY = 1e-8
"""Is added to a variance before its root is divided by."""


class PPOSpec(ReinforcementSpec):
    """`beta` weighs the KL by the estimate `kl`; at 0 no reference is kept. Rewards count `gamma` per token that they
    are away, and `gae_lambda` weighs what the value head foretells against what was earned. A ratio counts within
    1 ± `epsilon`, a new value within ± `value_epsilon` of the old one; `value_weight` is the value loss's.
    `whiten_rewards` divides a rollout's rewards by their standard deviation; their mean stays. `filter_groups` learns
    from the prompts alone whose `samples` are not all paid alike, as GRPO does (DAPO, 2503.14476). Such a step is much
    shorter. It is biased: what decides whether a completion counts is how the others of its prompt were paid, and the
    value head knows nothing of the prompts that are always right or never.
    """

    kind: Literal["ppo"]
    samples: Annotated[int, Field(ge=1, le=1 << 16)] = 1
    iterations: PositiveInt = 4
    beta: NonNegativeFloat = 0.05
    kl: Literal["k1", "k3"] = "k1"
    gamma: Share = 1.0
    gae_lambda: Share = 0.95
    epsilon: PositiveFloat = 0.2
    value_epsilon: PositiveFloat = 0.2
    value_weight: NonNegativeFloat = 0.1
    whiten_rewards: bool = False
    filter_groups: bool = False

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError also for an adapter (the value head would have to be one too), and where `filter_groups`
        would leave nothing, or a KL that all completions pay for.
        """
        super().check(model, stage)
        if self.filter_groups and (self.samples < 2 or self.beta):
            raise ValueError(
                f"'{stage.name}': filter_groups compares the completions of one prompt, and leaves out those that only "
                "a KL teaches; give samples: 2 or more, and beta: 0"
            )
        if stage.lora is not None:
            raise ValueError(
                f"'{stage.name}': ppo lays a value head on the model, which no adapter can hold; use grpo, or no lora"
            )
        if "language" not in stage.learn:
            raise ValueError(f"'{stage.name}': ppo teaches the policy and its value head; learn must name language")


class PPO(Reinforcement):
    """The clipped losses of policy and value head."""

    spec: ClassVar[type[ObjectiveSpec]] = PPOSpec

    @property
    def keeps_reference(self) -> bool:
        return bool(self.rl.beta)

    @property
    def merges(self) -> bool:
        return True

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network under a value head, which is initialised from the run's seed as reward heads are."""
        network = super().prepare(network)
        width, device = self.language.width, next(network.parameters()).device
        generator = torch.Generator().manual_seed(self.setting.seed)
        head = nn.Linear(width, 1)
        with torch.no_grad():
            head.weight.copy_(torch.randn(1, width, generator=generator) / (width + 1))
            head.bias.zero_()
        network.add_module(VALUE_HEAD, head.to(device))
        return network

    def kept(self, trained: nn.Module) -> tuple[nn.Module, ModelSpec]:
        """The policy alone."""
        delattr(trained, VALUE_HEAD)
        return super().kept(trained)

    def teaching(self, rewards: Tensor) -> Tensor:
        """With `filter_groups` the groups whose rewards differ."""
        return differing(rewards) if self.rl.filter_groups else super().teaching(rewards)

    def credited(self, steps: list[Step], rewards: Tensor) -> list[Step]:
        """Each label has its advantage and its return; what stands in for a step that teaches nothing has no weight."""
        batches = [batch for step in steps for batch in step]
        teaches = self.teaching(rewards).flatten().long()
        stands = [batch.multiples * teaches[known(batch.numbers)][batch.rows] for batch in batches]
        lengths = [length for batch in batches for length in batch.lengths]
        values = torch.cat([known(batch.values) for batch in batches])
        earned = torch.zeros(len(values))
        if self.keeps_reference:
            old = torch.cat([known(batch.old) for batch in batches])
            reference = torch.cat([known(batch.reference) for batch in batches])
            earned = -self.rl.beta * KLS[self.rl.kl](old, reference)
        paid = torch.cat([batch.rewards for batch in batches])
        earned = paid_at_the_end(earned, paid, lengths)
        worth, returns = returns_of(earned, values, lengths, self.rl, torch.cat(stands))
        labels = [batch.labelled for batch in batches]
        parts = iter(zip(stands, worth.split(labels), returns.split(labels), strict=True))
        credited = []
        for step in steps:
            weights = token_weights(step, "dapo", self.stage.target_tokens)
            shares = [(one, weight, *next(parts)) for one, weight in zip(step, weights, strict=True)]
            credited.append([replace(one, weights=w * n, advantages=a, returns=r) for one, w, n, a, r in shares])
        return credited

    @torch.no_grad()
    def measured(self, batch: RolloutBatch) -> Measured:
        """With the values that the value head foretells."""
        policy: Any = self.policy
        device = next(policy.parameters()).device
        with autocast(device, resolve(self.stage.precision, device)):
            here = batch.to(device)
            states = chosen_states(policy, here)
            old, _ = log_probabilities(policy, states, here, self.rl.temperature)
            values = values_of(policy, states)
        return {"old": old.cpu(), "values": values.cpu(), "reference": self.reference_of(batch)}

    def rollout_loss(self, model: nn.Module, batch: RolloutBatch) -> Loss:
        """See `ppo`."""
        return ppo(model, batch, self.rl)


def values_of(model: Any, states: Tensor) -> Tensor:
    """What the value head foretells at each of the states `(labels, width)`, in float32."""
    values: Tensor = model.get_submodule(VALUE_HEAD)(states).float()[:, 0]
    return values


def paid_at_the_end(earned: Tensor, rewards: Tensor, lengths: Sequence[int]) -> Tensor:
    """What each label earns, with each row's reward at its last label; a row without labels is paid nothing."""
    last = torch.tensor(lengths).cumsum(0) - 1
    chosen = torch.tensor(lengths) > 0
    return earned.index_add(0, last[chosen], rewards[chosen].to(earned))


def returns_of(
    earned: Tensor, values: Tensor, lengths: Sequence[int], spec: PPOSpec, counts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Whitened advantages and returns of all labels, rows of `lengths` one after the other; `counts` says how many
    labels each stands for.
    """
    if spec.whiten_rewards:
        earned = whitened(earned, counts, shift_mean=False)
    rows = zip(earned.split([*lengths]), values.split([*lengths]), strict=True)
    advantages = torch.cat([gae(row, foretold, spec.gamma, spec.gae_lambda) for row, foretold in rows])
    return whitened(advantages, counts), advantages + values


def gae(earned: Tensor, values: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """A row's advantages: what each token and those after it brought, less what was foretold."""
    advantages = torch.zeros_like(earned)
    following, after = torch.zeros(()), torch.zeros(())
    for place in reversed(range(len(earned))):
        surprise = earned[place] + gamma * after - values[place]
        following = surprise + gamma * gae_lambda * following
        advantages[place], after = following, values[place]
    return advantages


def whitened(values: Tensor, counts: Tensor | None = None, *, shift_mean: bool = True) -> Tensor:
    """Values with the variance 1 (unbiased) and the mean 0, or with the mean that they had; each stands for `counts`
    of them.
    """
    counts = torch.ones_like(values) if counts is None else counts.to(values)
    total = counts.sum()
    if total < 2:
        return values - values if shift_mean else values
    mean = (counts * values).sum() / total
    variance = (counts * (values - mean).square()).sum() / (total - 1)
    white = (values - mean) * (variance + TINY).rsqrt()
    return white if shift_mean else white + mean


def known(tensor: Tensor | None) -> Tensor:
    """A tensor that is there by now."""
    assert tensor is not None
    return tensor


def ppo(model: Any, batch: RolloutBatch, spec: PPOSpec) -> Loss:
    """Both losses of a batch, the value loss by its weight."""
    if batch.advantages is None:
        return validation_loss(batch)
    states = chosen_states(model, batch)
    log_probs, entropies = log_probabilities(model, states, batch, spec.temperature)
    losses, parts = clipped_losses(log_probs, values_of(model, states), batch, spec)
    entropy = (known(batch.weights) * entropies).sum()
    return Loss(losses.sum(), batch.labelled, parts=described(batch, entropy=entropy, **parts))


def clipped_losses(
    log_probs: Tensor, values: Tensor, batch: RolloutBatch, spec: PPOSpec
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of each label, by its weight, and what is reported of all labels, summed."""
    worth, returns, before = known(batch.advantages), known(batch.returns), known(batch.values)
    weights = known(batch.weights)
    ratio = (log_probs - known(batch.old)).exp()
    policy, outside = clipped(ratio, worth, spec.epsilon, spec.epsilon)
    near = before + (values - before).clamp(-spec.value_epsilon, spec.value_epsilon)
    value = 0.5 * torch.maximum((values - returns).square(), (near - returns).square())
    parts = {"policy_loss": policy, "value_loss": value, "clip_fraction": outside}
    if batch.reference is not None:
        parts["kl"] = k3(log_probs, batch.reference)
    losses = weights * (policy + spec.value_weight * value)
    return losses, {name: (weights * part).sum() for name, part in parts.items()}
