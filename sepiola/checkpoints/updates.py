"""What an adapter changes in a network: matrices of low rank that are added, and rows that are replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LowRank:
    """What is added to `rows` of a linear layer or an embedding, the module `module`: `scale * b @ a`.

    `a` is `(rank, columns)`, `b` `(rows, rank)`. With a `magnitude` (DoRA) each row of the sum then gets that length;
    of an embedding, each column.
    """

    module: str
    rows: slice
    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None
    by_column: bool = False

    @property
    def tensor(self) -> str:
        """The tensor that it changes."""
        return f"{self.module}.weight"

    def equals(self, other: Update) -> bool:
        """Whether another does the same to the same rows of its own tensor."""
        return (
            isinstance(other, LowRank)
            and (self.rows, self.scale) == (other.rows, other.scale)
            and self.magnitude is None
            and other.magnitude is None
            and torch.equal(self.a, other.a)
            and torch.equal(self.b, other.b)
        )

    def apply(self, weight: Tensor) -> None:
        """Changes the weight in place: in float32, rounded once to what the weight is held in."""
        wide = [tensor.to(weight.device, torch.float32) for tensor in (self.a, self.b)]
        after = weight[self.rows].float() + self.scale * (wide[1] @ wide[0])
        if self.magnitude is not None:
            lengths = after.norm(dim=0 if self.by_column else 1, keepdim=True)
            after *= self.magnitude.to(weight.device, torch.float32).view_as(lengths) / lengths
        weight[self.rows] = after.to(weight.dtype)


@dataclass(frozen=True)
class Rows:
    """What stands in the place of `rows` of a tensor.

    `whole` modules are copies that were trained: what is tied to the original keeps the original's values.
    """

    tensor: str
    rows: slice | tuple[int, ...]
    value: Tensor
    whole: bool = False

    def equals(self, other: Update) -> bool:
        """Whether another does the same to the same rows of its own tensor."""
        return isinstance(other, Rows) and self.rows == other.rows and torch.equal(self.value, other.value)

    def apply(self, weight: Tensor) -> None:
        """Changes the weight in place."""
        rows = self.rows if isinstance(self.rows, slice) else list(self.rows)
        weight[rows] = self.value.to(weight)


Update = LowRank | Rows


def merge(network: nn.Module, updates: Iterable[Update]) -> nn.Module:
    """Lets an adapter change the weights under it, in place and in the order given."""
    state = network.state_dict()
    with torch.no_grad():
        for update in updates:
            update.apply(state[update.tensor])
    return network
