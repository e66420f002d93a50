"""Optimizers: AdamW (arXiv 1711.05101), or Muon (Jordan et al., 2024) for the matrices of the layers and AdamW for the
rest, or Adagrad (Duchi et al., 2011), or L-BFGS (Liu and Nocedal, 1989).

Muon's steps are scaled to the size of AdamW's (arXiv 2502.16982), so one learning rate serves both. Of a linear layer
with named blocks each block is a matrix of its own: queries, keys and values are three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sepiola.errors import TrainingError
from sepiola.nn.linear import block_linears
from sepiola.nn.precision import multiplies_bfloat16
from sepiola.specs.stage import StageSpec

FIRST_SQUARE = 1e-6  # what Adagrad takes for the sum of squared gradients before the first: it bounds the first step


class Optimizer(Protocol):
    """What a step needs of an optimizer: all of torch's have it."""

    param_groups: list[dict[str, object]]

    def step(self) -> object: ...
    def zero_grad(self, set_to_none: bool = True) -> None: ...
    def state_dict(self) -> dict[str, object]: ...
    def load_state_dict(self, state_dict: dict[str, object]) -> None: ...


class BlockMuon:
    """Muon over the blocks of `matrices`, each given with its rows: every block is orthogonalised by itself.

    What torch's Muon computes with `match_rms_adamw`, which products in `dtype` orthogonalise; torch's are always in
    bfloat16, which on a CPU without such products takes twice the time of float32.
    """

    def __init__(
        self,
        matrices: Sequence[tuple[nn.Parameter, Sequence[slice]]],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.matrices = matrices
        self.dtype = dtype
        self.momentum = momentum
        self.param_groups: list[dict[str, Any]] = [
            {"params": [whole for whole, _ in matrices], "lr": lr, "weight_decay": weight_decay}
        ]
        self._averages = [torch.zeros_like(whole.detach()) for whole, _ in matrices]

    @torch.no_grad()
    def step(self) -> None:
        rate, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        for (whole, rows), average in zip(self.matrices, self._averages, strict=True):
            if whole.grad is None:
                continue
            average.lerp_(whole.grad, 1 - self.momentum)
            update = whole.grad.lerp(average, self.momentum)  # Nesterov's
            whole.mul_(1 - rate * decay)
            for part in rows:
                block = orthogonalised(update[part].to(self.dtype))
                whole[part].add_(block, alpha=-rate * 0.2 * max(block.shape) ** 0.5)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for whole, _ in self.matrices:
            if set_to_none:
                whole.grad = None
            elif whole.grad is not None:
                whole.grad.zero_()

    def state_dict(self) -> dict[str, object]:
        return {"averages": self._averages, "lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for average, saved in zip(self._averages, state_dict["averages"], strict=True):
            average.copy_(saved)
        self.param_groups[0]["lr"] = state_dict["lr"]


def orthogonalised(matrix: Tensor) -> Tensor:
    """A matrix of the same singular vectors whose singular values are all near 1, by five Newton-Schulz iterations."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), wide, beta=3.4445)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class QuasiNewton(torch.optim.LBFGS):
    """L-BFGS of whole steps: each goes by one gradient, and looks along no line. Its updates are torch's."""

    def __init__(self, parameters: Sequence[nn.Parameter], *, lr: float) -> None:
        super().__init__(parameters, lr=lr, max_iter=1)

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        super().step(lambda: 0.0)  # the loss, of which one step reads nothing; its gradient is there already


class Optimizers:
    """Several optimizers as one; `state_dict` is a list of theirs."""

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = list(optimizers)

    @property
    def param_groups(self) -> list[dict[str, object]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> list[dict[str, object]]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: Sequence[dict[str, object]]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def optimizer_for(model: nn.Module, stage: StageSpec, steps_per_epoch: int = 1) -> Optimizers:
    """What the stage asks for, over what learns. Matrices decay; norms and biases, of one dimension, do not.

    Raises TrainingError where L-BFGS would have another part of the data at each step.
    """
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if stage.optimizer.kind == "lbfgs":
        if steps_per_epoch > 1:
            raise TrainingError(
                f"stage '{stage.name}': lbfgs compares the gradients of steps, which must be of the same samples; its "
                f"data make {steps_per_epoch} steps: raise batch or accumulate until they are one"
            )
        return Optimizers([QuasiNewton([*learning.values()], lr=stage.optimizer.learning_rate)])
    if stage.optimizer.kind == "adagrad":
        rate = stage.optimizer.learning_rate
        return Optimizers([torch.optim.Adagrad([*learning.values()], lr=rate, initial_accumulator_value=FIRST_SQUARE)])
    muon = stage.optimizer.kind == "muon"
    by_muon = {name for name, p in learning.items() if muon and p.dim() == 2 and "layers." in name}
    blocks = {f"{name}.weight": list(linear.rows.values()) for name, linear in block_linears(model)}
    rest = [p for name, p in learning.items() if name not in by_muon]
    groups = [
        {"params": [p for p in rest if p.dim() > 1], "weight_decay": stage.optimizer.weight_decay},
        {"params": [p for p in rest if p.dim() <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in rest)
    chosen: list[Optimizer] = []
    if any(g["params"] for g in groups):
        given = [g for g in groups if g["params"]]
        chosen.append(
            torch.optim.AdamW(given, lr=stage.optimizer.learning_rate, betas=stage.optimizer.betas, fused=fused)
        )
    if by_muon:
        chosen.append(
            BlockMuon(
                [(learning[name], blocks.get(name, [slice(None)])) for name in learning if name in by_muon],
                lr=stage.optimizer.learning_rate,
                weight_decay=stage.optimizer.weight_decay,
                dtype=torch.bfloat16 if multiplies_bfloat16(next(model.parameters()).device) else torch.float32,
            )
        )
    return Optimizers(chosen)
