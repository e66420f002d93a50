"""The benchmarks that need no argument, one after the other: `python -m benchmarks`. Each can be run alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = ("train_lm", "train_mm_cot", "generate_mm_cot", "vision", "banded", "chat")

if __name__ == "__main__":
    here = Path(__file__).parent
    for name in NAMES:
        print(f"\n{name}", flush=True)
        subprocess.run([sys.executable, str(here / f"{name}.py"), *sys.argv[1:]], check=True)
