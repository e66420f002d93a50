"""Banded against dense attention: `python benchmarks/banded.py`.

A Stack of `--layers` layers of GPT-3 125M's shape reads `--tokens` tokens, once with every layer dense, once with each
seeing `--band` tokens. `attention` is products and masks alone, `stack` the whole forward pass. Memory is what a
process of its own needs on top of the weights (Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
from pathlib import Path
from typing import Any

import torch
from measure import alternate, parser, ratio, report
from torch import Tensor

from sepiola.models.build import merge, preset
from sepiola.models.transformer import Stack
from sepiola.nn.attend import attend, mask_bias
from sepiola.nn.banded import Band
from sepiola.specs.model import TransformerSpec


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--tokens", type=int, default=4096)
    options.add_argument("--band", type=int, default=256)
    options.add_argument("--layers", type=int, default=2)
    options.add_argument("--dtype", choices=("bfloat16", "float32"), default="float32")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    report(arguments, run(arguments))


def shape(arguments: argparse.Namespace, band: int | None) -> TransformerSpec:
    """GPT-3 125M's shape with room for the tokens; every layer has the band, or none."""
    language = preset("gpt-3-125m").model_dump()["language"]
    change = {
        "layers": arguments.layers,
        "attention": {"window": band, "full_every": None},
        "positions": {"length": arguments.tokens},
    }
    return TransformerSpec.parse(merge(language, change))


def products(arguments: argparse.Namespace, band: int | None) -> Any:
    """The products of one layer's attention, its mask included."""
    dtype = getattr(torch, arguments.dtype)
    q, k, v = (torch.randn(1, 12, arguments.tokens, 64).to(dtype) for _ in range(3))

    def dense() -> Tensor:
        size = {"queries": arguments.tokens, "keys": arguments.tokens}
        mask = mask_bias(None, None, causal=0, dtype=dtype, device=q.device, **size)
        return attend(q, k, v, mask, 0.125, 0.0)

    return torch.inference_mode()(dense if band is None else lambda: Band(band).attend(q, k, v, 0.125, 0.0))


def stack(arguments: argparse.Namespace, band: int | None) -> Any:
    """The forward pass of the whole stack."""
    dtype = getattr(torch, arguments.dtype)
    spec = shape(arguments, band)
    model = Stack(spec, spec.layers, causal=True, cross=False).to(dtype).eval()
    x = torch.randn(1, arguments.tokens, spec.width).to(dtype)
    return torch.inference_mode()(lambda: model(x))


WORKS = {"attention": products, "stack": stack}


def memory_mb(arguments: argparse.Namespace, work: str, band: int | None) -> float:
    """The most memory that one call needs, in a process that has done nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return float(pool.apply(_grown, (arguments, work, band)))


def _grown(arguments: argparse.Namespace, work: str, band: int | None) -> float:
    torch.set_num_threads(arguments.threads)
    call = WORKS[work](arguments, band)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _peak_kb()
    call()
    return (_peak_kb() - before) / 1024


def _peak_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both comparisons; every number that is printed."""
    figures: dict[str, Any] = {key: getattr(arguments, key) for key in ("tokens", "band", "layers", "dtype")}
    for name, work in WORKS.items():
        sides = {"banded": work(arguments, arguments.band), "dense": work(arguments, None)}
        alternate(sides, 1)  # warms up
        times = alternate(sides, arguments.rounds)
        memory = {side: memory_mb(arguments, name, arguments.band if side == "banded" else None) for side in sides}
        figures[name] = {
            "seconds": {side: round(statistics.median(taken), 3) for side, taken in times.items()},
            "times_faster": round(ratio(times["dense"], times["banded"]), 2),
            "memory_mb": {side: round(grown, 1) for side, grown in memory.items()},
            "times_less_memory": round(memory["dense"] / max(memory["banded"], 1e-9), 2),
        }
    return figures


if __name__ == "__main__":
    main()
