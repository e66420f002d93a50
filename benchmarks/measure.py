"""What all benchmarks share: alternating pairs, the matrix rate of the machine, the frame of a report."""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], Any]


def seconds_of(work: Work) -> float:
    """One run by the clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def alternate(works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Seconds of each work in each round; the works take turns, so that what else the machine does meets all."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds_of(work))
    return times


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times faster ours is: the median over the pairs."""
    return statistics.median(t / o for t, o in zip(theirs, ours, strict=True))


def matmul_rate(dtype: torch.dtype = torch.bfloat16, rounds: int = 5) -> float:
    """The machine's matrix products in floating point operations a second: the best of some rounds at 2048³."""
    a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    a @ b
    return 2 * 2048**3 / min(seconds_of(lambda: a @ b) for _ in range(rounds))


def peak_memory_gb() -> float:
    """The most memory this process has held; where the kernel tells it, without what its parent held at the start."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    told = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return (told[0] if told else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**20


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=5, help="alternating pairs")
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    made.add_argument("--out", type=Path, help="write the figures to this JSON file")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def report(arguments: argparse.Namespace, figures: dict[str, Any]) -> None:
    """Prints the figures and writes them where `--out` says, with the machine and the versions."""
    import transformers

    figures |= {
        "threads": arguments.threads,
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    text = json.dumps(figures, indent=2)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    if arguments.json:
        print(text)
        return
    for key, value in figures.items():
        print(f"{key:>28}  {value}")
