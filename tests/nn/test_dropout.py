"""Dropout with masks drawn in bulk: torch's own on every account but which elements fall."""

import pytest
import torch
from torch import nn

from sepiola.nn.attend import attend
from sepiola.nn.dropout import Dropout, keep_factors, keep_mask


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_masks_have_the_mean_and_the_variance_of_a_coin(probability):
    torch.manual_seed(0)
    mask, factor = keep_mask((1000, 1000), probability)
    kept = mask.double()
    assert set(mask.unique().tolist()) == {0, 1}
    assert kept.mean().item() == pytest.approx(1 - probability, abs=3e-3)
    assert (kept * factor).mean().item() == pytest.approx(1.0, abs=5e-3 / (1 - probability))
    assert kept.var().item() == pytest.approx(probability * (1 - probability), abs=3e-3)
    for axis in (0, 1):  # no row or column is favoured: five standard deviations at most
        spread = (probability * (1 - probability) / 1000) ** 0.5
        assert (kept.mean(axis) - (1 - probability)).abs().max() < 5 * spread


def test_masks_of_layers_and_steps_are_independent():
    torch.manual_seed(0)
    masks = torch.stack([keep_mask((40_000,), 0.3)[0].double() for _ in range(12)])
    correlations = torch.corrcoef(masks) - torch.eye(12)
    assert correlations.abs().max() < 5 / 200
    neighbours = torch.corrcoef(torch.stack((masks[0, 1:], masks[0, :-1])))[0, 1]
    assert neighbours.abs() < 5 / 200


def test_masks_follow_torchs_generator_and_no_number_of_threads():
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = keep_mask((33, 7), 0.2)[0], keep_mask((33, 7), 0.2)[0]
    assert not torch.equal(first, second)
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        torch.set_rng_state(state)
        assert torch.equal(keep_mask((33, 7), 0.2)[0], first)
        assert torch.equal(keep_mask((33, 7), 0.2)[0], second)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_those_of_the_mask(dtype):
    x = torch.randn(5, 9, dtype=dtype, requires_grad=True)
    residual = torch.randn(5, 9, requires_grad=True)
    layer = Dropout(0.25).train()
    torch.manual_seed(1)
    total = layer.add(residual, x)
    torch.manual_seed(1)
    factors = keep_factors(*keep_mask(x.shape, 0.25), x.dtype)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, residual + x * factors, rtol=0, atol=0)
    grad = torch.randn(5, 9)
    ours = torch.autograd.grad(total, (residual, x), grad)
    theirs = torch.autograd.grad(residual + x * factors, (residual, x), grad)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0.01, atol=0)
        assert one.dtype == other.dtype


def test_alone_it_is_the_same_as_added_to_zero():
    x, layer = torch.randn(64, 8), Dropout(0.4).train()
    torch.manual_seed(2)
    alone = layer(x)
    torch.manual_seed(2)
    torch.testing.assert_close(alone, layer.add(torch.zeros_like(x), x), rtol=0, atol=0)
    assert (alone == 0).any() and (alone != 0).any()


@pytest.mark.parametrize(("probability", "training"), [(0.0, True), (0.5, False)])
def test_without_dropout_nothing_changes_and_no_number_is_drawn(probability, training):
    x, layer = torch.randn(4, 4), Dropout(probability).train(training)
    state = torch.get_rng_state()
    assert torch.equal(layer(x), x)
    assert torch.equal(layer.add(x, x), x + x)
    assert torch.equal(torch.get_rng_state(), state)


def test_all_of_it_dropped_is_zero():
    assert not Dropout(1.0).train()(torch.ones(8, 8)).any()


def test_the_mean_over_many_masks_is_the_layer_without_dropout():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 5, 4, requires_grad=True) for _ in range(3))
    plain = attend(q, k, v, None, 0.5, 0.0)
    mean = torch.stack([attend(q, k, v, None, 0.5, 0.3) for _ in range(4000)]).mean(0)
    assert (mean - plain).abs().max() < 0.1


def test_a_network_trains_through_it_as_through_torchs():
    torch.manual_seed(0)
    x = torch.randn(256, 16)
    y = x @ torch.randn(16, 1)
    losses = []
    for kind in (Dropout, nn.Dropout):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), kind(0.1), nn.Linear(64, 1))
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(200):
            loss = (model(x) - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append((model.eval()(x) - y).square().mean().item())
    assert losses[0] == pytest.approx(losses[1], rel=0.5)
    assert losses[0] < 0.2 * y.square().mean().item()
