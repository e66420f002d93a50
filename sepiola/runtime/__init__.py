"""How weights run: every executor by its name. A new one is a file here and a line."""

from __future__ import annotations

from torch import nn

from sepiola.errors import SpecError, shown
from sepiola.runtime.executor import Executor, MakesExecutor
from sepiola.runtime.native import native_or_torch
from sepiola.runtime.plain import TorchExecutor
from sepiola.runtime.prepacked import PrepackedExecutor
from sepiola.specs.base import nearest

EXECUTORS: dict[str, MakesExecutor] = {
    "torch": TorchExecutor,
    "prepacked": PrepackedExecutor,
    "native": native_or_torch,
}


def executor(name: str, network: nn.Module, *, bits: int | None = None, release: bool = False) -> Executor:
    """The named executor of a network. Raises SpecError for a name that is none."""
    if name not in EXECUTORS:
        raise SpecError(f"no runtime is named {shown(name)}; {nearest(name, EXECUTORS)}")
    return EXECUTORS[name](network, release=release, bits=bits)
