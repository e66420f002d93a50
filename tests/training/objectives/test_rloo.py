"""RLOO: its advantages, loss and gradients are trl's, its KL is in the reward, and it learns."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sepiola.training.lora import begin_learning, without_adapter
from sepiola.training.objectives.grpo import token_weights
from sepiola.training.objectives.rloo import RLOOSpec, completion_losses, leave_one_out
from tests import policies, tiny
from tests.policies import KINDS, batch_of
from tests.preferences import Metrics
from tests.trainers import stage_of


def spec_of(**changes: Any) -> RLOOSpec:
    return RLOOSpec.model_validate({"kind": "rloo", "reward": "exact", **changes})


def test_a_baseline_is_the_mean_of_the_others() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 3.0], [2.0, 2.0, 2.0, 2.0]], dtype=torch.float64)
    wanted = torch.tensor([[1 - 1.0, 0 - 4 / 3, 0 - 4 / 3, 3 - 1 / 3], [0.0] * 4], dtype=torch.float64)
    torch.testing.assert_close(leave_one_out(rewards), wanted, atol=1e-9, rtol=1e-9)
    spread = (wanted - wanted.mean()) / (wanted.std() + 1e-4)
    torch.testing.assert_close(leave_one_out(rewards, normalised=True), spread, atol=1e-9, rtol=1e-9)


def test_losses_and_gradients_are_those_of_trl() -> None:
    """trl 1.16's RLOOTrainer, of a step of two batches of whole completions, in float64; ratios are clipped."""
    trainer = pytest.importorskip("trl", reason="compared with trl, from the dev extra").RLOOTrainer
    torch.manual_seed(0)
    spec = spec_of(epsilon_low=0.2, epsilon_high=0.28)
    lengths = ([3, 5, 1, 4], [2, 2, 5, 1])
    step = [batch_of([*row]) for row in lengths]
    ours, theirs, outside = [], [], 0.0
    total = sum(map(sum, lengths))
    for batch, weight in zip(step, token_weights(step, "grpo", 6), strict=True):
        count = batch.labelled
        old, worth = -torch.rand(count, dtype=torch.float64) * 3, torch.randn(4, dtype=torch.float64)
        drawn = (old + 0.2 * torch.randn(count, dtype=torch.float64)).requires_grad_()
        known = replace(batch, old=old, advantages=worth[batch.rows])
        losses, parts = completion_losses(drawn, known, spec)
        our = (losses * weight.double()).sum() / total
        width = max(batch.lengths)
        mask = (torch.arange(width) < torch.tensor(batch.lengths)[:, None]).long()
        each = torch.zeros(4, width, dtype=torch.float64).masked_scatter(mask.bool(), drawn)
        before = torch.zeros(4, width, dtype=torch.float64).masked_scatter(mask.bool(), old)
        inputs = {f"{kind}_{what}": mask for kind in ("prompt", "completion") for what in ("ids", "mask")}
        inputs |= {"advantages": worth, "old_logps": before.sum(1)}
        accelerator = {"gather": lambda x: x, "reduce": lambda x, **_: x, "autocast": contextlib.nullcontext}
        trl = SimpleNamespace(
            _get_per_token_logps_and_entropies=lambda *_, each=each, **__: (each, torch.ones_like(each), None),
            aux_loss_enabled=False,
            epsilon_low=spec.epsilon_low,
            epsilon_high=spec.epsilon_high,
            model=SimpleNamespace(training=True),
            accelerator=SimpleNamespace(**accelerator),
            _metrics={"train": Metrics()},
        )
        their = trainer._compute_loss(trl, None, inputs) / 2  # two batches a step
        gradients = [torch.autograd.grad(loss, drawn, retain_graph=True)[0] for loss in (our, their)]
        torch.testing.assert_close(*gradients, atol=1e-7, rtol=1e-6)
        outside += float(parts["clip_fraction"])
        ours.append(our.item())
        theirs.append(their.item())
    assert outside > 0
    assert ours == pytest.approx(theirs, abs=1e-7)


def test_the_divergence_is_in_the_reward() -> None:
    """Written out: rewards less β Σ (log π − log π_ref), and then the mean of the others."""
    made = policies.tokenizer()
    network, spec = policies.policy(KINDS["decoder"], made)
    learned: Any = policies.objective({"kind": "rloo", "samples": 4, "beta": 0.3}, spec, made, batch=16)
    batches = policies.rollouts(learned, network)
    tiny.randomise(learned.reference, std=0.2)
    batches.reward = policies.Rising()
    step: Any = batches.next()
    paid, divergence = torch.zeros(16), torch.zeros(16)
    for batch in step:
        paid[batch.numbers] = batch.rewards
        moved = (batch.old - batch.reference).split(batch.lengths)
        divergence[batch.numbers] = torch.stack([row.sum() for row in moved])
    assert divergence.abs().max() > 0.1
    worth = leave_one_out((paid - 0.3 * divergence).view(4, 4)).flatten()
    for batch in step:
        torch.testing.assert_close(batch.advantages, worth[batch.numbers][batch.rows], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_at_first_nothing_is_clipped_and_nothing_has_moved(kind: str) -> None:
    made = policies.tokenizer()
    network, spec = policies.policy(KINDS[kind], made)
    learned: Any = policies.objective({"kind": "rloo", "samples": 4}, spec, made)
    batch: Any = policies.rollouts(learned, network).next()[0]
    loss = learned.loss(network, batch)
    assert loss.parts["clip_fraction"].item() == 0
    assert loss.parts["kl"].item() == pytest.approx(0.0, abs=1e-5)
    assert loss.parts["entropy"].item() >= 0


@pytest.mark.parametrize("raw", [{}, {"minibatches": 2, "iterations": 2}])
def test_a_half_trained_policy_earns_more(raw: dict[str, Any], tmp_path: Path) -> None:
    made = policies.tokenizer()
    network, spec = policies.half_trained(KINDS["decoder"], made, tmp_path / "first", 50)
    stage = {"steps": 30, "batch": 80, "learning_rate": 3e-3, "schedule": "constant", "weight_decay": 0.0}
    learned = policies.objective({"kind": "rloo", "samples": 8, "beta": 0.01, **raw}, spec, made, **stage)
    before = policies.mean_reward(learned, network)
    policies.trainer(learned, network, tmp_path / "second", log_every=1).run()
    assert policies.mean_reward(learned, network) > before + 0.15
    lines = [json.loads(line) for line in (tmp_path / "second" / "metrics.jsonl").read_text().splitlines()][1:]
    assert {"reward", "equal_groups", "kl", "entropy", "clip_fraction"} <= set(lines[0])
    assert all(line["entropy"] >= 0 and line["kl"] >= 0 for line in lines)


def test_an_adapter_has_its_reference_under_it(tmp_path: Path) -> None:
    """No copy of the network is kept."""
    made = policies.tokenizer()
    network, spec = policies.policy(KINDS["decoder"], made)
    stage = {"steps": 3, "batch": 16, "learning_rate": 1e-2, "lora": {"rank": 2}}
    learned: Any = policies.objective({"kind": "rloo", "samples": 4}, spec, made, **stage)
    learned.prepare(network)
    begin_learning(network, learned.stage, 0)
    assert learned.reference is None
    batches = policies.rollouts(learned, network)
    batches.reward = policies.Rising()
    policies.Trainer(network, learned.stage, learned.loss, batches, folder=tmp_path, log_every=1).run()
    batch: Any = batches.next()[0]
    with without_adapter(network):
        beneath = learned.log_probabilities_of(network, batch)
    torch.testing.assert_close(batch.reference, beneath)
    assert not torch.allclose(batch.old, batch.reference, atol=1e-3)


def test_groups_of_one_are_refused() -> None:
    _, spec = policies.policy(KINDS["decoder"], policies.tokenizer())
    stage = stage_of(steps=1, batch=4, objective={"kind": "rloo", "reward": "exact", "samples": 1})
    with pytest.raises(ValueError, match="give samples: 2 or more"):
        stage.check(spec)
