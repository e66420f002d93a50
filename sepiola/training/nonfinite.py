"""When a loss or a gradient is not a number: where it began, in words a person can act on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def locate(model: nn.Module, forwards: Sequence[Callable[[], object]]) -> str:
    """Where a loss or a gradient that is not finite began; `forwards` compute the loss of each batch."""
    if parameter := first_bad_gradient(model):
        return f"first in the gradient of {parameter}"
    if weight := first_bad_weight(model):
        return f"for the weight {weight} is not"
    for forward in forwards:
        if module := first_bad_module(model, forward):
            return f"first in the output of {module}"
    return "first in the output head"


def first_bad_module(model: nn.Module, forward: Callable[[], object]) -> str | None:
    """Runs `forward` and names the first module whose output is not finite; None when all are."""
    bad_modules: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if not bad_modules and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                bad_modules.append(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return bad_modules[0] if bad_modules else None


def first_bad_gradient(model: nn.Module) -> str | None:
    """The first parameter whose gradient is not finite; None when all are."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return name
    return None


def first_bad_weight(model: nn.Module) -> str | None:
    """The first parameter that is not finite; None when all are."""
    return next((name for name, p in model.named_parameters() if not bool(torch.isfinite(p).all())), None)
