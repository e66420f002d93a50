"""Memory: pages kept on glibc, and a peak that does not fall."""

from __future__ import annotations

import mmap
import platform
import resource
from types import SimpleNamespace

import pytest
import torch

from sepiola.training import memory
from sepiola.training.memory import keep_pages, peak_memory, resident_memory


def test_pages_are_kept_where_the_library_is_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep_pages.__wrapped__() == (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert keep_pages.__wrapped__() is False


@pytest.mark.parametrize(("system", "gigabytes"), [("linux", 2.048), ("darwin", 0.002)])
def test_the_peak_is_in_the_units_of_the_system(system: str, gigabytes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux tells it in KiB, macOS in bytes."""
    assert (peak_memory(torch.device("cpu")) or 0) > 0.05  # torch alone is larger
    monkeypatch.setattr(memory, "_process_status", lambda _: None)  # no /proc
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=2_000_000))
    monkeypatch.setattr("sys.platform", system)
    assert peak_memory(torch.device("cpu")) == pytest.approx(gigabytes)


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_what_is_held_rises_and_falls_and_the_peak_stays() -> None:
    before = resident_memory() or 0
    with mmap.mmap(-1, 200_000_000) as held:
        for page in range(0, len(held), mmap.PAGESIZE):  # no copy of it, which `keep_pages` would have kept
            held[page] = 1
        assert (resident_memory() or 0) > before + 0.15
    assert (resident_memory() or 0) < before + 0.15
    assert (peak_memory(torch.device("cpu")) or 0) > before + 0.15
