"""How weights run: every executor by its name. A new one is a file here and a line."""

from __future__ import annotations

from sepiola.runtime.executor import MakesExecutor
from sepiola.runtime.plain import TorchExecutor
from sepiola.runtime.prepacked import PrepackedExecutor

EXECUTORS: dict[str, MakesExecutor] = {
    "torch": TorchExecutor,
    "prepacked": PrepackedExecutor,
}
