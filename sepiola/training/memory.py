"""Memory on a CPU: pages that are kept between steps, how much is used now, and how much was used at most."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from pathlib import Path

import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # <malloc.h>


@cache
def keep_pages() -> bool:
    """Tells glibc to keep freed memory, for the whole process; False where the C library is another.

    A training step allocates and frees the same large tensors again and again. By default each is mapped and
    unmapped by the kernel, which clears every page anew.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 << 20))
    return all([mallopt(option, value) == 1 for option, value in settings])


def resident_memory() -> float | None:
    """The memory that this process holds now, in GB; None where the system does not say (it is not Linux)."""
    return _process_status("VmRSS")


def peak_memory(device: torch.device) -> float | None:
    """The most memory in use so far, in GB: of the process on a CPU, of torch's tensors on an accelerator.

    None where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = _process_status("VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used * (1 if sys.platform == "darwin" else 1024) / 1e9


def _process_status(name: str) -> float | None:
    """A figure of Linux's about this process, in GB. Unlike `getrusage`'s it holds nothing of the parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith(f"{name}:")), None)
