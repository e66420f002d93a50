"""Damaged folders of the edge runtime are refused or run; what ends a process is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
from tests.edge.fuzz import fuzz, in_a_child


def test_damaged_folders_are_refused_or_run(tmp_path: Path) -> None:
    outcomes, faults = fuzz(150, 7, tmp_path)
    assert faults == []
    assert outcomes["loaded"] > 5 and outcomes["refused"] > 50


def test_a_crash_is_a_fault_and_the_rest_goes_on() -> None:
    def attempt(number: int) -> str:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return "refused"

    assert [*in_a_child(range(2, 6), attempt)] == [(2, "refused"), (3, "the process ended: SIGKILL")]
