"""PPO: its losses and advantages are their formulas, written out here once more; and it learns."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from sepiola.training.objectives.ppo import PPOSpec, clipped_losses, gae, paid_at_the_end, returns_of, whitened
from tests import policies
from tests.policies import KINDS, batch_of

LENGTHS = [3, 0, 5, 1]


def spec_of(**changes: Any) -> PPOSpec:
    return PPOSpec.model_validate({"kind": "ppo", "reward": "exact", **changes})


def white(values: list[float], shift: bool = True) -> list[float]:
    """By the standard library."""
    mean, variance = fmean(values), statistics.variance(values)
    return [(value - mean) / math.sqrt(variance + 1e-8) + (0 if shift else mean) for value in values]


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.8, 0.0)])
def test_advantages_and_returns_follow_their_formulas(gamma: float, lam: float, whiten: bool) -> None:
    """The advantage is the sum of (γλ)^k δ over the tokens that follow; δ is r + γV' − V."""
    torch.manual_seed(0)
    earned, values, rewards = torch.randn(9), torch.randn(9), torch.tensor([1.0, 2.0, 0.5, -1.0])
    paid = earned.tolist()
    for place, reward in ((2, 1.0), (7, 0.5), (8, -1.0)):  # the last tokens; a row without tokens is paid nothing
        paid[place] += reward
    assert paid_at_the_end(earned, rewards, LENGTHS).tolist() == pytest.approx(paid, abs=1e-6)
    counted = white(paid, shift=False) if whiten else paid
    expected = []
    for start, length in ((0, 3), (3, 5), (8, 1)):
        r, v = counted[start : start + length], [*values[start : start + length].tolist(), 0.0]
        deltas = [r[t] + gamma * v[t + 1] - v[t] for t in range(length)]
        expected += [sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, length)) for t in range(length)]
    spec = spec_of(gamma=gamma, gae_lambda=lam, whiten_rewards=whiten)
    worth, returns = returns_of(torch.tensor(paid), values, LENGTHS, spec)
    assert worth.tolist() == pytest.approx(white(expected), abs=1e-5)
    assert returns.tolist() == pytest.approx([a + v for a, v in zip(expected, values.tolist(), strict=True)], abs=1e-5)


def test_all_that_is_earned_counts_fully_without_discount_and_values() -> None:
    assert gae(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3), 1.0, 1.0).tolist() == [6, 5, 3]


def test_whitening_keeps_the_mean_where_asked_and_survives_one_value() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    assert whitened(values).tolist() == pytest.approx(white(values.tolist()), abs=1e-6)
    assert whitened(values, shift_mean=False).mean() == pytest.approx(3.0)
    twice = whitened(torch.tensor([1.0, 1.0, 2.0, 6.0]))
    assert whitened(values, torch.tensor([2, 1, 1])).tolist() == pytest.approx(twice[1:].tolist(), abs=1e-6)
    assert whitened(values[:1]).tolist() == [0.0]
    assert whitened(values[:1], shift_mean=False).tolist() == [1.0]


def test_losses_and_gradients_follow_their_formulas() -> None:
    """−min(ρA, clip(ρ)A) and ½ max((V − R)², (V_clipped − R)²), on both sides of what is clipped."""
    torch.manual_seed(1)
    lengths, count = [4, 5, 3], 12
    old, reference, worth, returns, before = (torch.randn(count) for _ in range(5))
    log_probs = (old + 0.5 * torch.randn(count)).requires_grad_()
    values = (before + 0.5 * torch.randn(count)).requires_grad_()
    spec = spec_of(epsilon=0.2, value_epsilon=0.3, value_weight=0.25)
    given = {"old": old, "reference": reference, "advantages": worth, "returns": returns, "values": before}
    batch = batch_of(lengths, **given, weights=torch.ones(count))
    losses, parts = clipped_losses(log_probs, values, batch, spec)
    losses.sum().backward()
    policy, value, slopes, pulls, outside, kls = 0.0, 0.0, [], [], 0, 0.0
    for t in range(count):
        logp, v, a = float(log_probs.detach()[t]), float(values.detach()[t]), float(worth[t])
        ratio, target, v0 = math.exp(logp - float(old[t])), float(returns[t]), float(before[t])
        bounded = min(max(ratio, 0.8), 1.2)
        policy += -min(ratio * a, bounded * a)
        inactive = bounded * a < ratio * a
        outside += inactive
        slopes.append(0.0 if inactive else -ratio * a)
        near = v0 + min(max(v - v0, -0.3), 0.3)
        value += 0.5 * max((v - target) ** 2, (near - target) ** 2)
        far = (near - target) ** 2 > (v - target) ** 2
        pulls.append(0.25 * (0.0 if far else v - target))
        log_ratio = float(reference[t]) - logp
        kls += math.exp(log_ratio) - 1 - log_ratio
    assert 0 < outside < count
    assert 0.0 in pulls
    assert losses.sum().item() == pytest.approx(policy + 0.25 * value, rel=1e-5)
    assert log_probs.grad is not None and values.grad is not None
    assert log_probs.grad.tolist() == pytest.approx(slopes, abs=1e-5)
    assert values.grad.tolist() == pytest.approx(pulls, abs=1e-5)
    assert parts["policy_loss"].item() == pytest.approx(policy, rel=1e-5)
    assert parts["value_loss"].item() == pytest.approx(value, rel=1e-5)
    assert parts["clip_fraction"].item() == outside
    assert parts["kl"].item() == pytest.approx(kls, rel=1e-4)


@pytest.mark.parametrize("kl", ["k1", "k3"])
def test_a_rollout_is_credited_by_its_own_log_probabilities_and_values(kl: str) -> None:
    """The KL is paid at every token and the reward at the end token, once the policy has left the reference."""
    made = policies.tokenizer()
    network, spec = policies.policy(KINDS["decoder"], made)
    raw = {"kind": "ppo", "beta": 0.3, "kl": kl, "minibatches": 2}
    learned = policies.objective(raw, spec, made, batch=6, accumulate=2)
    batches = policies.rollouts(learned, network)
    with torch.no_grad():
        network.head.weight.add_(
            0.2 * torch.randn(network.head.weight.shape, generator=torch.Generator().manual_seed(0))
        )
    steps: Any = [batches.next(), batches.next()]
    every = [batch for step in steps for batch in step]
    assert [len(batch.ids) for batch in every] == [6] * 4
    advantages, values = [], []
    for batch in every:
        old, reference = batch.old.tolist(), batch.reference.tolist()
        for row, length in enumerate(batch.lengths):
            start = sum(batch.lengths[:row])
            paid = []
            for t in range(start, start + length):
                d = reference[t] - old[t]
                paid.append(-0.3 * (-d if kl == "k1" else math.exp(d) - 1 - d))
            paid[-1] += float(batch.rewards[row])
            v = [*batch.values[start : start + length].tolist(), 0.0]
            deltas = [paid[t] + v[t + 1] - v[t] for t in range(length)]
            advantages += [sum(0.95 ** (k - t) * deltas[k] for k in range(t, length)) for t in range(length)]
            values += v[:-1]
    assert torch.cat([batch.advantages for batch in every]).tolist() == pytest.approx(white(advantages), abs=1e-4)
    expected = [a + v for a, v in zip(advantages, values, strict=True)]
    assert torch.cat([batch.returns for batch in every]).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_half_trained_policy_earns_more(kind: str, tmp_path: Path) -> None:
    made = policies.tokenizer()
    network, spec = policies.half_trained(KINDS[kind], made, tmp_path / "first", 50)
    stage = {"steps": 120, "batch": 80, "learning_rate": 2e-3, "schedule": "constant", "weight_decay": 0.0}
    learned = policies.objective({"kind": "ppo", "samples": 8, "beta": 0.02}, spec, made, **stage)
    before = policies.mean_reward(learned, network)
    network, spec = policies.half_trained(KINDS[kind], made, tmp_path / "again", 50)
    trained = policies.trainer(learned, network, tmp_path / "second", log_every=4)
    trained.run()
    kept, _ = learned.kept(trained.model)
    assert not any("value_head" in name for name in kept.state_dict())
    lines = [json.loads(line) for line in (tmp_path / "second" / "metrics.jsonl").read_text().splitlines()][1:]
    print(kind, before, [round(line["reward"], 2) for line in lines])
    assert 0.2 < before < 0.6
    assert fmean(line["reward"] for line in lines[-3:]) > before + 0.2
    assert {"policy_loss", "value_loss", "kl", "clip_fraction", "reward", "completion_tokens"} <= set(lines[0])
    assert all(line["entropy"] >= 0 for line in lines)
    assert lines[-1]["value_loss"] < lines[0]["value_loss"]
