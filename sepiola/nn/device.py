"""Where to compute: a device that is named and is there."""

from __future__ import annotations

import os

import torch

from sepiola.errors import SpecError, shown

COUNTS = {
    "cpu": lambda: 1,
    "cuda": torch.cuda.device_count,
    "mps": lambda: int(torch.backends.mps.is_available()),
    "xpu": torch.xpu.device_count,
}
"""How many devices of each kind this machine has."""


def _compute_alone() -> None:
    """Has a process that was forked compute in one thread: those that PyTorch began before are not in it, and it would
    wait for them for ever.
    """
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_compute_alone)


def find_device(name: str | torch.device) -> torch.device:
    """The device of this name, such as `cpu` or `cuda:1`. Raises SpecError when this machine has none such."""
    there = {kind: count() for kind, count in COUNTS.items()}
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError):
        device = torch.device("meta")
    if (device.index or 0) < there.get(device.type, 0):
        return device
    known = [kind if number == 1 else f"{kind}:{at}" for kind, number in there.items() for at in range(number)]
    raise SpecError(f"no device {shown(str(name))} on this machine; there is: {', '.join(known)}")
