"""Tensors that are read when they are asked for, and held by nobody in between.

A checkpoint becomes a module through mappings of such tensors: renamed, stacked and reshaped on paper first, then read
piece by piece into the module's own memory. So a load needs the model's size and little more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

Read = Callable[[], Tensor]
Pieces = Sequence[Read]  # laid one under the other they are a tensor


class LazyTensors(Mapping[str, Tensor]):
    """A state dict whose values are read anew each time; `reads` tells how, by their names."""

    def __init__(self, reads: Mapping[str, Pieces]) -> None:
        self.reads = reads

    def pieces(self, name: str) -> list[Tensor]:
        """What one tensor is made of: laid one under the other, they are it."""
        return [read() for read in self.reads[name]]

    def shape(self, name: str) -> torch.Size:
        """The shape of a tensor, whose data are not read; of a piece that does not fit the first, if there is one."""
        pieces = self.pieces(name)
        first = pieces[0].shape
        odd = next((piece.shape for piece in pieces if piece.shape[1:] != first[1:]), None)
        return odd or (first if len(pieces) == 1 else torch.Size((sum(map(len, pieces)), *first[1:])))

    def __getitem__(self, name: str) -> Tensor:
        pieces = self.pieces(name)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def __contains__(self, name: object) -> bool:
        return name in self.reads

    def __iter__(self) -> Iterator[str]:
        return iter(self.reads)

    def __len__(self) -> int:
        return len(self.reads)


def later(state: Mapping[str, Tensor]) -> dict[str, Pieces]:
    """How to read each tensor of a state dict, of any kind."""
    if isinstance(state, LazyTensors):
        return dict(state.reads)
    return {name: [partial(state.__getitem__, name)] for name in state}


def renamed(state: Mapping[str, Tensor], name_of: Callable[[str], str | None]) -> LazyTensors:
    """The same tensors under other names; those whose new name is None are left out."""
    return LazyTensors({new: reads for name, reads in later(state).items() if (new := name_of(name)) is not None})


def changed(read: Read, change: Callable[[Tensor], Tensor]) -> Read:
    """A tensor that passes through a function once it is read."""
    return lambda: change(read())


def with_changes(state: Mapping[str, Tensor], changes: Mapping[str, Callable[[Tensor], Tensor]]) -> LazyTensors:
    """The same tensors, some of them changed; a name that is not there is no matter."""
    there = {name: change for name, change in changes.items() if name in state}
    done = {name: [changed(partial(state.__getitem__, name), change)] for name, change in there.items()}
    return LazyTensors({**later(state), **done})
