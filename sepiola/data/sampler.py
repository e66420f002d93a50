"""The order in which training sees its samples."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


class BatchSampler:
    """The order in which samples are seen: each once an epoch, shuffled by `seed`, lengths alike side by
    side.

    Each call of `next_step` gives the sample numbers of one step: up to `accumulate` batches of up to `batch`
    samples. The last ones of an epoch may be smaller; nothing is dropped. The order depends on the arguments
    alone, so the state is two numbers.
    """

    def __init__(
        self, lengths: Sequence[int], batch: int, *, accumulate: int = 1, seed: int = 0, window: int = 64
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch = batch
        self.accumulate = accumulate
        self.seed = seed
        self.window = window
        self.epoch = 0
        self.position = 0
        self._plan: tuple[int, list[list[list[int]]]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every sample is seen once."""
        batches = -(-len(self.lengths) // self.batch)
        return -(-batches // self.accumulate)

    def next_step(self) -> list[list[int]]:
        """The batches of the next step, as sample numbers."""
        step = self.steps(self.epoch)[self.position]
        self.position += 1
        if self.position == self.steps_per_epoch:
            self.epoch, self.position = self.epoch + 1, 0
        return step

    def steps(self, epoch: int) -> list[list[list[int]]]:
        """All steps of an epoch. Lengths are sorted within windows of `window` batches, so the order stays
        random.
        """
        if self._plan is None or self._plan[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            order = generator.permutation(len(self.lengths))
            batches: list[list[int]] = []
            for start in range(0, len(order), self.window * self.batch):
                near = order[start : start + self.window * self.batch]
                near = near[np.argsort(self.lengths[near], kind="stable")]
                batches += [near[i : i + self.batch].tolist() for i in range(0, len(near), self.batch)]
            shuffled = [batches[i] for i in generator.permutation(len(batches))]
            plan = [shuffled[i : i + self.accumulate] for i in range(0, len(shuffled), self.accumulate)]
            self._plan = (epoch, plan)
        return self._plan[1]

    def state(self) -> dict[str, int]:
        """Where the order stands."""
        return {"epoch": self.epoch, "position": self.position}

    def restore(self, state: dict[str, int]) -> None:
        """Goes on where `state` stood. Raises ValueError for a place that is none."""
        if state["epoch"] < 0 or not 0 <= state["position"] < self.steps_per_epoch:
            raise ValueError(f"step {state['position']} of epoch {state['epoch']} is not among the samples' steps")
        self.epoch, self.position = state["epoch"], state["position"]


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, in their order; drawn, because even steps may meet one of two kinds alone."""
    drawn = random.Random(len(items)).sample(range(len(items)), min(count, len(items)))
    return [items[i] for i in sorted(drawn)]
