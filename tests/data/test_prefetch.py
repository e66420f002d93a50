"""What is laid out a step ahead is what would have been laid out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from sepiola.data.prefetch import Prefetch

CPU = torch.device("cpu")


@pytest.fixture(params=["alone", "ahead"])
def ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """With a core to spare, and without one."""
    monkeypatch.setattr(os, "cpu_count", lambda: torch.get_num_threads() + (request.param == "ahead"))
    yield request.param == "ahead"


def collated(samples: Any) -> Any:
    return list(samples), threading.get_ident()


def test_every_step_gets_its_own(ahead: bool) -> None:
    samples: Any = [f"sample {i}" for i in range(40)]
    steps = [[[i, i + 1], [i + 2]] for i in range(20)]
    with Prefetch(collated, samples, CPU) as prefetch:
        for step, upcoming in zip(steps, [*steps[1:], steps[0]], strict=True):
            taken: Any = prefetch.take(step, upcoming)
            assert [given for given, _ in taken] == [[samples[i] for i in group] for group in step]
        assert (taken[0][1] != threading.get_ident()) == ahead


def test_what_was_not_asked_for_is_thrown_away(ahead: bool) -> None:
    samples: Any = list("abc")
    with Prefetch(collated, samples, CPU) as prefetch:
        prefetch.take([[0]], [[1]])
        taken: Any = prefetch.take([[2]], [[0]])
        assert taken[0][0] == ["c"]


def test_an_error_comes_with_its_step(ahead: bool) -> None:
    def fails(samples: Any) -> Any:
        return 1 // samples[0]

    numbers: Any = [1, 0]
    with Prefetch(fails, numbers, CPU) as prefetch:
        assert prefetch.take([[0]], [[1]]) == [1]
        with pytest.raises(ZeroDivisionError):
            prefetch.take([[1]], [[0]])
        assert prefetch.take([[0]], [[0]]) == [1]
