"""What a stage begins with: the parts that earlier models have, in a model that may have more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sepiola.checkpoints.store import check_fit
from sepiola.models.vocabulary import TOKEN_ROWS
from sepiola.specs.model import ModelSpec, Part
from sepiola.training.preparation import parts_of


def load_parts(network: nn.Module, earlier: nn.Module, spec: ModelSpec, source: str, only: Part | None = None) -> None:
    """Copies into `network` the parts of an `earlier` model of that `spec` that it has too, or the one that is named.

    A larger vocabulary keeps its own rows for the tokens that the earlier one lacks. Raises CheckpointError that names
    `source` when a part does not fit.
    """
    mine, theirs = parts_of(network), _parts(earlier, spec)
    for name, part in theirs.items():
        if name not in mine or only not in (None, name):
            continue
        state = part.state_dict()
        if name == "language":
            state = {key: _longer(key, value, mine[name].state_dict().get(key)) for key, value in state.items()}
        check_fit(mine[name], {key: value.shape for key, value in state.items()}, f"{source}, {name}")
        mine[name].load_state_dict(state)


def _parts(model: nn.Module, spec: ModelSpec) -> dict[str, Any]:
    """The parts of a model by name; one without parts is a vision encoder or a language model alone."""
    return {"vision": model} if spec.language is None and spec.bridge is None else parts_of(model)


def _longer(name: str, rows: Tensor, present: Tensor | None) -> Tensor:
    if (
        present is None
        or not name.endswith(TOKEN_ROWS)
        or len(present) <= len(rows)
        or present.shape[1:] != rows.shape[1:]
    ):
        return rows
    return torch.cat((rows, present[len(rows) :].to(rows)))
