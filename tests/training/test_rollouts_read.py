"""Which completions of a rollout are read again: no more than its gradient needs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sepiola.training.sampler import Completion
from tests import policies, tiny


class Listed:
    """Pays what it is given, completion by completion."""

    def __init__(self, rewards: list[float]) -> None:
        self.rewards = rewards

    def score(self, examples: Any, written: Any) -> list[float]:
        return self.rewards


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo"])
def test_completions_that_teach_nothing_are_not_read_again(loss: str) -> None:
    """Groups that are paid alike have no gradient under GRPO without a KL: leaving them out changes none."""
    made = policies.tokenizer()
    network, spec = policies.policy(tiny.llama(), made)
    gradients, sizes = [], []
    for read_all in (False, True):
        raw = {"kind": "grpo", "samples": 2, "loss": loss}
        learned = policies.objective(raw, spec, made, batch=4, accumulate=2)
        batches = policies.rollouts(learned, network)
        batches.reward = Listed([1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
        if read_all:
            batches._choose = torch.ones_like
        torch.manual_seed(1)
        step: Any = batches.next()
        sizes.append([len(batch.ids) for batch in step])
        network.zero_grad()
        (sum(learned.loss(network, batch).total for batch in step) / sum(batch.labelled for batch in step)).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert sizes == [[4], [4, 4]]
    assert float(gradients[0].norm()) > 0
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("language", policies.KINDS)
@pytest.mark.parametrize(
    "raw",
    [
        *({"kind": "grpo", "loss": loss, "beta": 0.1} for loss in ("grpo", "dr_grpo", "dapo")),
        {"kind": "grpo", "loss": "grpo", "importance": "sequence"},
        {"kind": "ppo", "samples": 4, "beta": 0.1, "whiten_rewards": True},
    ],
    ids=lambda raw: "-".join(map(str, raw.values())),
)
def test_completions_that_are_alike_are_read_once_and_count_as_many(raw: Any, language: str) -> None:
    """Loss, gradient and figures are those of all completions."""
    made = policies.tokenizer()
    one, two, seven = (made.backend.token_to_id(name) for name in "127")
    said = [(one,), (one, two), (one,), (one,), (two,), (two, seven), (two, seven), (two, seven)]
    found = []
    for merge in (True, False):
        network, spec = policies.policy(policies.KINDS[language], made)
        learned = policies.objective({"samples": 4, **raw}, spec, made, batch=8)
        batches = policies.rollouts(learned, network)
        batches.reward = Listed([1.0, 0.0, 1.0, 0.5, 0.0, 1.0, 1.0, 1.0])
        batches._merge = merge
        each = [[Completion(ids, ended=True) for ids in said[:4]], [Completion(ids, ended=True) for ids in said[4:]]]
        batches.sampler.write = lambda *_, each=each: each  # type: ignore[method-assign]
        (batch,) = batches.next()
        with torch.no_grad():
            for p in network.parameters():
                p.mul_(1.01)  # no ratio is 1
        loss = learned.loss(network, batch)
        (loss.total / batch.labelled).backward()
        figures = {name: float(value) / batch.labelled for name, value in loss.parts.items()}
        gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        found.append((len(batch.ids), loss.total.detach() / batch.labelled, gradient, figures))
    (few, mean, gradient, figures), (every, mean_of_all, of_all, figures_of_all) = found
    assert (few, every) == (5, 8)
    torch.testing.assert_close(mean, mean_of_all, atol=1e-6, rtol=1e-5)
    assert float(gradient.norm()) > 0
    torch.testing.assert_close(gradient, of_all, atol=1e-6, rtol=1e-4)
    if raw["kind"] == "ppo":
        assert figures == pytest.approx(figures_of_all, rel=1e-4, abs=1e-6)


def test_with_a_kl_all_are_read_and_where_none_teaches_one_is() -> None:
    made = policies.tokenizer()
    network, spec = policies.policy(tiny.llama(), made)
    for beta, read in ((0.0, 1), (0.1, 8)):
        learned = policies.objective({"kind": "grpo", "samples": 2, "beta": beta}, spec, made, batch=8)
        batches = policies.rollouts(learned, network)
        batches.reward = Listed([1.0] * 8)
        (batch,) = batches.next()
        assert len(batch.ids) == read
        (learned.loss(network, batch).total / batch.labelled).backward()
        assert all(float(p.grad.abs().max()) < 1e-5 for p in network.parameters())
        network.zero_grad()


def test_ppo_reads_groups_that_are_paid_alike_unless_they_are_filtered() -> None:
    """What is left is credited as if it had been all; where nothing is left, nothing is learned."""
    made = policies.tokenizer()
    network, spec = policies.policy(tiny.llama(), made)
    for filtered, rewards, read in (
        (False, [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0], 8),
        (True, [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0], 4),
        (True, [1.0] * 4 + [0.0] * 4, 1),
    ):
        raw = {"kind": "ppo", "samples": 2, "beta": 0.0, "filter_groups": filtered}
        learned = policies.objective(raw, spec, made, batch=8)
        batches = policies.rollouts(learned, network)
        batches.reward = Listed(rewards)
        batches._merge = False
        (batch,) = batches.next()
        assert len(batch.ids) == read
        (learned.loss(network, batch).total / batch.labelled).backward()
        norm = sum(float(p.grad.norm()) for p in network.parameters() if p.grad is not None)
        if read == 1:
            assert norm == 0.0
        else:
            assert norm > 0
            assert float(batch.advantages.mean()) == pytest.approx(0.0, abs=1e-5)
            assert float(batch.advantages.std()) == pytest.approx(1.0, abs=1e-3)
        if read == 4:
            assert sorted(batch.numbers.tolist()) == [0, 1, 6, 7]
        network.zero_grad()
        learned.kept(network)
