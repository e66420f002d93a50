"""The next step's batches, laid out while the present one trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch

from sepiola.data.batching import Batch, Sample

Groups = list[list[int]]


class Prefetch:
    """Lays out the batches of a step from its sample numbers, one step ahead where a core is to spare.

    What it gives depends on the numbers alone: what was laid out for other numbers is thrown away. An error (an image
    that is damaged) is raised when its step is taken.
    """

    def __init__(
        self, collate: Callable[[Sequence[Sample]], Batch], samples: Sequence[Sample], device: torch.device
    ) -> None:
        self.collate = collate
        self.samples = samples
        # Training leaves a core idle when it runs elsewhere, or when torch uses fewer threads than there are cores.
        spare = device.type != "cpu" or torch.get_num_threads() < (os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(1, "prefetch", torch.set_num_threads, (1,)) if spare else None
        self._pending: tuple[Groups, Future[list[Batch]]] | None = None

    def take(self, groups: Groups, upcoming: Groups) -> list[Batch]:
        """This step's batches; `upcoming` is what the next call will most likely ask for."""
        pending, self._pending = self._pending, None
        batches = pending[1].result() if pending is not None and pending[0] == groups else self._lay_out(groups)
        if self._pool is not None:
            self._pending = upcoming, self._pool.submit(self._lay_out, upcoming)
        return batches

    def _lay_out(self, groups: Groups) -> list[Batch]:
        return [self.collate([self.samples[i] for i in group]) for group in groups]

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pending = None
