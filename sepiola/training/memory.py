"""Memory on a CPU: pages that are kept between steps, and how much was used at most."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache

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


def peak_memory(device: torch.device) -> float | None:
    """The most memory in use so far, in GB: of the process on a CPU, of torch's tensors on an accelerator.

    None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used * (1 if sys.platform == "darwin" else 1024) / 1e9
