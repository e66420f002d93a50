"""A policy's log-probabilities where its logits are too many to hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepiola.calling.constraints import ConstraintVocabulary
from sepiola.training import policy
from sepiola.training.policy import chosen_states, log_probabilities
from tests import policies, tiny
from tests.training.test_rollouts import PROMPTS


@pytest.mark.parametrize("constrained", [False, True])
def test_logits_of_some_labels_at_a_time_are_those_of_all(constrained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, entropies and gradients, of a grammar's choices too."""
    made = policies.tokenizer()
    network, spec = policies.policy(tiny.llama(), made)
    tiny.randomise(network, std=0.3, generator=torch.Generator().manual_seed(0))
    learned = policies.objective({"kind": "grpo"}, spec, made, PROMPTS, target_tokens=12)
    batches = policies.rollouts(learned, network)
    sampler = batches.sampler
    if constrained:
        vocabulary = ConstraintVocabulary(made, made.vocabulary, [spec.language.tokens.end])
        sampler.grammar = vocabulary.compiled("lark", 'start: "seven" /[0-9]/ ("nine" /[一二]/ | "zero")')
    torch.manual_seed(0)
    completions = [one for row in sampler.write(batches.samples, 4) for one in row]
    every = [sample for sample in batches.samples for _ in range(4)]
    batch = sampler.lay_out(every, completions, torch.zeros(12))

    def measured() -> list[Tensor]:
        network.zero_grad()
        log_probs, entropies = log_probabilities(network, chosen_states(network, batch), batch, 0.7)
        (log_probs * torch.linspace(-1, 2, len(log_probs))).sum().backward()
        return [log_probs.detach(), entropies, *(weight.grad.clone() for weight in network.parameters())]

    whole = measured()
    assert len(whole[0]) > 14
    monkeypatch.setattr(policy, "LOGITS", 7 * made.vocabulary)
    for apart, together in zip(measured(), whole, strict=True):
        torch.testing.assert_close(apart, together, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        again = log_probabilities(network, chosen_states(network, batch), batch, 0.7)
    torch.testing.assert_close(again[0], whole[0], atol=1e-6, rtol=1e-5)
