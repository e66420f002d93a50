"""Tensors that are read when they are asked for, and held by nobody in between.

A checkpoint becomes a module through mappings of such tensors: renamed, stacked and reshaped on paper first, then read
one by one into the module's own memory. So a load needs the model's size and little more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from torch import Tensor

Read = Callable[[], Tensor]


class LazyTensors(Mapping[str, Tensor]):
    """A state dict whose values are read anew each time: `reads` gives each tensor by its name."""

    def __init__(self, reads: Mapping[str, Read]) -> None:
        self._reads = reads

    def __getitem__(self, name: str) -> Tensor:
        return self._reads[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._reads

    def __iter__(self) -> Iterator[str]:
        return iter(self._reads)

    def __len__(self) -> int:
        return len(self._reads)


def later(state: Mapping[str, Tensor]) -> dict[str, Read]:
    """How to read each tensor of a state dict, of any kind."""
    return {name: partial(state.__getitem__, name) for name in state}


def renamed(state: Mapping[str, Tensor], name_of: Callable[[str], str | None]) -> LazyTensors:
    """The same tensors under other names; those whose new name is None are left out."""
    return LazyTensors({new: read for name, read in later(state).items() if (new := name_of(name)) is not None})


def changed(state: Mapping[str, Tensor], changes: Mapping[str, Callable[[Tensor], Tensor]]) -> LazyTensors:
    """The same tensors, some of them passed through a function; a name that is not there is no matter."""
    reads = later(state)
    for name, change in changes.items():
        if name in reads:
            reads[name] = partial(_pass, reads[name], change)
    return LazyTensors(reads)


def _pass(read: Read, change: Callable[[Tensor], Tensor]) -> Tensor:
    return change(read())
