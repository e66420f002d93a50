"""Which number format products are computed in. Weights and optimizer are float32 always."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def resolve(precision: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """The format of matrix products; `auto` is bfloat16 where the machine multiplies it natively."""
    if precision == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Products in `dtype` while it is entered; nothing changes for float32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def product_dtype(x: Tensor) -> torch.dtype:
    """The format in which products with `x` are computed here and now: autocast's, or its own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products run on the hardware, faster than float32 ones.

    Intel's Sapphire Rapids and later, of which `avx512_fp16` tells, are fast in bfloat16 by their matrix unit alone
    (AMX). Where a virtual machine hides it, the vector instruction takes twice the time of float32's.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # `mkldnn._is_mkldnn_bf16_supported` is true on any AVX-512 machine, even where bfloat16 is emulated.
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    capabilities = {} if get_capabilities is None else get_capabilities()
    if "avx512_bf16" in capabilities:
        by_vectors = capabilities["avx512_bf16"] and not capabilities.get("avx512_fp16")
        return bool(by_vectors or capabilities.get("amx_bf16"))
    if "bf16" in capabilities:
        return bool(capabilities["bf16"])
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
