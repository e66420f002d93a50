"""Optimizers: AdamW (arXiv 1711.05101), or Muon (Jordan et al., 2024) for the matrices of the layers and AdamW for the
rest.

Muon's steps are scaled to the size of AdamW's (arXiv 2502.16982), so one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sepiola.errors import TrainingError
from sepiola.specs.recipe import StageSpec


class Optimizers:
    """Several optimizers as one; `state_dict` is a list of theirs."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.optimizers = list(optimizers)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def optimizer_for(model: nn.Module, stage: StageSpec) -> Optimizers:
    """What the stage asks for, over what learns. Matrices decay; norms and biases, of one dimension, do not.

    Raises TrainingError when the stage asks for Muon and this torch has none.
    """
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    by_muon = {n for n, p in learning.items() if stage.optimizer == "muon" and p.dim() == 2 and "layers." in n}
    rest = [p for name, p in learning.items() if name not in by_muon]
    groups = [
        {"params": [p for p in rest if p.dim() > 1], "weight_decay": stage.weight_decay},
        {"params": [p for p in rest if p.dim() <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in rest)
    chosen: list[torch.optim.Optimizer] = []
    if any(g["params"] for g in groups):
        given = [g for g in groups if g["params"]]
        chosen.append(torch.optim.AdamW(given, lr=stage.learning_rate, betas=stage.betas, fused=fused))
    if by_muon:
        if not hasattr(torch.optim, "Muon"):
            raise TrainingError(f"stage '{stage.name}': torch {torch.__version__} has no Muon; set optimizer: adamw")
        chosen.append(
            torch.optim.Muon(
                [learning[name] for name in learning if name in by_muon],
                lr=stage.learning_rate,
                weight_decay=stage.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return Optimizers(chosen)
