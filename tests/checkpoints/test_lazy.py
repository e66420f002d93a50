"""Tensors that are read when they are asked for: renamed and changed without a read, stacked on reading."""

from __future__ import annotations

import torch
from torch import Tensor

from sepiola.checkpoints.lazy import LazyTensors, renamed, with_changes


def test_a_tensor_is_read_each_time_it_is_asked_for_and_never_before() -> None:
    reads: list[int] = []

    def read() -> Tensor:
        reads.append(1)
        return torch.arange(6.0).reshape(2, 3)

    state = LazyTensors({"a": [read], "stacked": [read, lambda: torch.zeros(1, 3)]})
    moved = with_changes(
        renamed(state, {"a": "b", "stacked": None}.get), {"b": lambda tensor: tensor + 1, "c": torch.neg}
    )
    assert list(moved) == ["b"] and "a" not in moved and not reads
    assert moved["b"].tolist() == [[1, 2, 3], [4, 5, 6]] and torch.equal(moved["b"], moved["b"])
    assert len(reads) == 3
    assert state["stacked"].shape == state.shape("stacked") == (3, 3)


def test_the_shape_of_a_stack_is_that_of_the_piece_that_does_not_fit() -> None:
    state = LazyTensors({"x": [lambda: torch.zeros(2, 3), lambda: torch.zeros(2, 4)]})
    assert state.shape("x") == (2, 4)
