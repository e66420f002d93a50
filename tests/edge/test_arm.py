"""Arm computes the bits that x86-64 does: one program of products and whole small models, cross-built and emulated."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "edge" / "native"
FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-pthread")
SETS = {
    "x86_64": {
        "kernels_avx2": ("-mavx2", "-mfma", "-mf16c"),
        "kernels_avx512": (
            *("-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"),
        ),
    },
    "aarch64": {"kernels_neon": (), "kernels_dotprod": ("-march=armv8.2-a+dotprod",)},
}
COMMON = sorted(
    {path.stem for path in NATIVE.glob("*.cpp")} - {"module"} - {name for each in SETS.values() for name in each}
)
TOOLS = ("g++", "aarch64-linux-gnu-g++", "qemu-aarch64")

needs_tools = pytest.mark.skipif(
    platform.machine() != "x86_64" or not all(map(shutil.which, TOOLS)),
    reason="needs g++, and Debian's g++-aarch64-linux-gnu and qemu-user",
)


def built(compiler: str, machine: str, folder: Path, *flags: str) -> Path:
    """The program `check` for a machine."""
    folder.mkdir()
    parts = {**dict.fromkeys(COMMON, ()), **SETS[machine]}
    for name, own in parts.items():
        command = [compiler, *FLAGS, *own, "-c", str(NATIVE / f"{name}.cpp"), "-o", str(folder / f"{name}.o")]
        subprocess.run(command, check=True)
    program = folder / "check"
    objects = [str(folder / f"{name}.o") for name in parts]
    subprocess.run([compiler, *FLAGS, *flags, *objects, "-o", str(program)], check=True)
    return program


@needs_tools
def test_arm_computes_the_same_bits(tmp_path: Path) -> None:
    x86 = built("g++", "x86_64", tmp_path / "x86")
    arm = built("aarch64-linux-gnu-g++", "aarch64", tmp_path / "arm", "-static")
    expected = {}
    for line in subprocess.run([x86], capture_output=True, text=True, check=True).stdout.splitlines():
        _, *what, checksum = line.split()
        assert expected.setdefault(tuple(what), checksum) == checksum
    assert len(expected) == 48
    # A Raspberry Pi 4 has no dot-product instructions, a 5 has them.
    for processor, sets in {"cortex-a72": {"neon", "scalar"}, "cortex-a76": {"dotprod", "neon", "scalar"}}.items():
        command = ["qemu-aarch64", "-cpu", processor, str(arm)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert {line.split()[0] for line in lines} == sets
        for line in lines:
            _, *what, checksum = line.split()
            assert expected[tuple(what)] == checksum
