"""The chunked loss against plain logits: value and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sepiola.models.transformer import LanguageModel
from sepiola.nn.loss import linear_cross_entropy
from sepiola.specs.bricks import AttentionSpec, FeedForwardSpec
from sepiola.specs.model import PositionSpec, TransformerSpec


def problem(spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    states = torch.randn(3, 11, 16) * spread
    labels = torch.randint(0, 57, (3, 11))
    labels[0, :5] = labels[2, -3:] = -100
    return states.requires_grad_(), torch.randn(57, 16, requires_grad=True), labels


def plain(states: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = (states @ weight.t()).float()
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")


@pytest.mark.parametrize("chunk", [1, 4, 1000, None])
@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_equals_cross_entropy_on_logits(chunk: int | None, spread: float) -> None:
    """A spread of 40 makes some chosen probabilities underflow in float32; their loss must still be right."""
    states, weight, labels = problem(spread)
    expected = plain(states, weight, labels)
    wanted = torch.autograd.grad(expected / 7, (states, weight))
    loss, _ = linear_cross_entropy(states, weight, labels, chunk=chunk)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    got = torch.autograd.grad(loss / 7, (states, weight))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_z_loss_by_its_formula(spread: float) -> None:
    states, weight, labels = problem(spread)
    logits = (states @ weight.t()).flatten(0, 1)[labels.flatten() >= 0]
    squares = 1e-2 * logits.logsumexp(-1).square().sum()
    expected = plain(states, weight, labels)
    wanted = torch.autograd.grad(expected + squares, (states, weight))
    loss, z_loss = linear_cross_entropy(states, weight, labels, chunk=4, z_loss=1e-2)
    torch.testing.assert_close(z_loss, squares, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss - z_loss, expected, rtol=1e-5, atol=1e-3)
    got = torch.autograd.grad(loss - z_loss, (states, weight))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_a_frozen_head_and_frozen_states() -> None:
    states, weight, labels = problem()
    (wanted,) = torch.autograd.grad(plain(states, weight, labels), states)
    (got,) = torch.autograd.grad(linear_cross_entropy(states, weight.detach(), labels, chunk=5)[0], states)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    (wanted,) = torch.autograd.grad(plain(states, weight, labels), weight)
    (got,) = torch.autograd.grad(linear_cross_entropy(states.detach(), weight, labels, chunk=5)[0], weight)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_no_label_costs_nothing() -> None:
    states, weight, labels = problem()
    loss, _ = linear_cross_entropy(states, weight, torch.full_like(labels, -100))
    loss.backward()
    assert loss.item() == 0.0
    assert weight.grad is not None and not weight.grad.any()
    assert states.grad is not None and not states.grad.any()


def test_bfloat16_keeps_float32_statistics() -> None:
    """Under autocast only the products are rounded: the loss is that of the rounded logits, to float32."""
    states, weight, labels = problem()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = F.linear(states, weight)
        loss, _ = linear_cross_entropy(states, weight, labels)
    expected = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-5)
    wanted = torch.autograd.grad(expected, (states, weight))
    got = torch.autograd.grad(loss, (states, weight))
    torch.testing.assert_close(got, wanted, rtol=2e-2, atol=6e-2)
    assert got[1].dtype == torch.float32


@pytest.mark.parametrize("tied", [True, False])
def test_through_a_model(tied: bool) -> None:
    spec = TransformerSpec(
        kind="decoder",
        vocabulary=31,
        width=12,
        layers=1,
        attention=AttentionSpec(heads=2),
        feed_forward=FeedForwardSpec(width=20),
        positions=PositionSpec(kind="rotary"),
        tied=tied,
        head_scale=0.5,
    )
    model = LanguageModel(spec)
    tokens, labels = torch.randint(0, 31, (2, 9)), torch.randint(0, 31, (2, 9))
    expected = F.cross_entropy(model(tokens).flatten(0, 1), labels.flatten(), reduction="sum")
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    loss, _ = linear_cross_entropy(*model.head.operands(model.states(tokens)), labels, chunk=4)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    got = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_weights_count_labels_by_the_formula(z_loss: float) -> None:
    states, weight, labels = problem()
    counts = torch.rand(int((labels >= 0).sum()))
    logits = (states @ weight.t()).flatten(0, 1)[labels.flatten() >= 0]
    each = F.cross_entropy(logits, labels[labels >= 0], reduction="none")
    expected = (counts * (each + z_loss * logits.logsumexp(-1).square())).sum()
    wanted = torch.autograd.grad(expected, (states, weight))
    loss, _ = linear_cross_entropy(states, weight, labels, weights=counts, chunk=4, z_loss=z_loss)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    got = torch.autograd.grad(loss, (states, weight))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
