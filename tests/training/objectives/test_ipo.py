"""IPO: its loss and gradients are trl's and the paper's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sepiola.training.objectives.ipo import ipo
from tests import preferences


@pytest.mark.parametrize("beta", [0.1, 0.5])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_models_loss_and_gradients_are_those_of_trl(side: str, beta: float, tmp_path: Path) -> None:
    """trl 1.16, loss_type ipo: means over the completions' tokens, whose lengths differ."""
    trainer = pytest.importorskip("trl", reason="compared with trl, from the dev extra").DPOTrainer
    made = preferences.tokenizer()
    reference, model, pad = preferences.llama(made, tmp_path)
    asked = preferences.rankings(replies=2)[:7]
    learned: Any = preferences.objective({"kind": "ipo", "beta": beta}, model.spec, made, asked)
    batch = preferences.all_of(learned)
    lengths = torch.tensor(batch.lengths)
    before = -torch.rand(len(lengths))
    our = learned.loss(model.network, replace(batch, before=before))
    (our.total / our.tokens).backward()
    order = torch.cat([batch.better, batch.worse])
    inputs = preferences.laid_out_by_trl(batch, order.tolist(), pad, side)
    known = (before * lengths)[order].chunk(2)
    inputs |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), known, strict=True))
    trl = preferences.of_trl(loss_types=["ipo"], beta=beta)
    their = trainer._compute_loss(trl, reference, inputs, False)
    their.backward()
    assert len({*batch.lengths}) > 1
    torch.testing.assert_close(our.total / our.tokens, their, atol=1e-5, rtol=1e-5)
    preferences.alike(model, reference)


def test_the_lead_that_is_wanted_costs_nothing() -> None:
    """(lead − 1 / 2β)², written out in float64."""
    made = preferences.tokenizer()
    _, spec = preferences.model(preferences.LANGUAGES["decoder"], made)
    batch = preferences.all_of(preferences.objective({"kind": "ipo"}, spec, made, preferences.rankings(replies=2)[:2]))
    zeros = torch.zeros(4, dtype=torch.float64)
    log_probs = zeros.index_add(0, batch.better, torch.tensor([5.0, 3.0], dtype=torch.float64)).requires_grad_()
    loss = ipo(log_probs, replace(batch, before=zeros), 0.1)
    assert loss.total.item() == pytest.approx(4.0, abs=1e-9)
    (gradient,) = torch.autograd.grad(loss.total, log_probs)
    torch.testing.assert_close(gradient[batch.better], torch.tensor([0.0, -4.0]).double(), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(gradient[batch.worse], torch.tensor([0.0, 4.0]).double(), atol=1e-9, rtol=1e-9)
