"""Where what is not a number began: gradient, weight, module, in this order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sepiola.training.nonfinite import first_bad_gradient, first_bad_module, first_bad_weight, locate


class Root(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sqrt()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), Root(), nn.Linear(2, 1))


def test_a_sound_network_has_no_fault() -> None:
    sound = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    sound(torch.ones(1, 2)).sum().backward()
    assert first_bad_gradient(sound) is first_bad_weight(sound) is None
    assert first_bad_module(sound, lambda: sound(torch.ones(1, 2))) is None
    assert locate(sound, [lambda: sound(torch.ones(1, 2))]) == "first in the output head"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_come_before_weights_before_modules(value: float) -> None:
    model = network()
    nn.init.constant_(model[0].weight, -1.0)
    nn.init.zeros_(model[0].bias)
    fine, faulty = (lambda: model(torch.zeros(1, 2))), (lambda: model(torch.ones(1, 2)))
    assert locate(model, [fine, faulty]) == "first in the output of 1"
    with torch.no_grad():
        model[2].bias[0] = value
    assert locate(model, [faulty]) == "for the weight 2.bias is not"
    model[0].bias.grad = torch.tensor([0.0, value])
    assert locate(model, [faulty]) == "first in the gradient of 0.bias"


def test_no_hook_stays() -> None:
    model = network()
    with pytest.raises(RuntimeError):
        first_bad_module(model, lambda: model(torch.ones(1, 3)))
    assert not any(m._forward_hooks for m in model.modules())
