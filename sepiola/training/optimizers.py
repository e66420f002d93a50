"""Optimizers: AdamW (arXiv 1711.05101), or Muon (Jordan et al., 2024) for the matrices of the layers and AdamW for the
rest.

Muon's steps are scaled to the size of AdamW's (arXiv 2502.16982), so one learning rate serves both. Of a linear layer
with named blocks each block is a matrix of its own: queries, keys and values are three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from sepiola.errors import TrainingError
from sepiola.nn.linear import block_linears
from sepiola.specs.stage import StageSpec


class Optimizer(Protocol):
    """What a step needs of an optimizer: all of torch's have it."""

    param_groups: list[dict[str, Any]]

    def step(self) -> object: ...
    def zero_grad(self, set_to_none: bool = True) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class BlockMuon:
    """Muon over the blocks of `matrices`, each given with its rows: every block is orthogonalised by itself."""

    def __init__(self, matrices: Sequence[tuple[nn.Parameter, Sequence[slice]]], **options: Any) -> None:
        self.matrices = matrices
        self._blocks = [[whole.detach()[part] for part in rows] for whole, rows in matrices]
        self._muon = torch.optim.Muon([block for blocks in self._blocks for block in blocks], **options)
        self.param_groups: list[dict[str, Any]] = self._muon.param_groups

    def step(self) -> None:
        for (whole, rows), blocks in zip(self.matrices, self._blocks, strict=True):
            for block, part in zip(blocks, rows, strict=True):
                block.data = whole.detach()[part]  # the parameter may lie in other memory by now
                block.grad = None if whole.grad is None else whole.grad[part]
        self._muon.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for whole, _ in self.matrices:
            if set_to_none:
                whole.grad = None
            elif whole.grad is not None:
                whole.grad.zero_()
        self._muon.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return self._muon.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._muon.load_state_dict(state_dict)
        self.param_groups = self._muon.param_groups


class Optimizers:
    """Several optimizers as one; `state_dict` is a list of theirs."""

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
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
        if getattr(torch.optim, "Muon", None) is None:
            raise TrainingError(
                f"stage '{stage.name}': torch {torch.__version__} has no Muon; set optimizer.kind: adamw"
            )
        chosen.append(
            BlockMuon(
                [(learning[name], blocks.get(name, [slice(None)])) for name in learning if name in by_muon],
                lr=stage.optimizer.learning_rate,
                weight_decay=stage.optimizer.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return Optimizers(chosen)
