"""Data-parallel training: processes that train one model together, each on its share of every step's samples.

Every rank holds the whole model. After the last batch of a step their gradients are summed through a flat buffer. No
module is wrapped (torch's DistributedDataParallel): a plain sum serves frozen parts, adapters, tied and unused weights,
and losses that enter a model by other methods than its `forward`. What is gathered are Python objects and small
tensors, by gloo; gradients go by gloo on CPUs, by NCCL on GPUs.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sepiola.errors import SepiolaError, TrainingError
from sepiola.nn.device import find_device
from sepiola.specs.stage import StageSpec

if TYPE_CHECKING:
    from sepiola.training.batches import Batches

Item = TypeVar("Item")

TIMEOUT = datetime.timedelta(minutes=30)
"""How long a rank waits within a step for one that lives and does not answer."""
PATIENCE = datetime.timedelta(days=7)
"""How long the others wait for what rank 0 does alone: validation, saving."""
BUCKET = 1 << 25
"""Numbers that are summed at once: 128 MB of float32."""


class RankError(TrainingError):
    """Another rank has ended, or does not answer."""


class Ranks:
    """This process among those that train together; alone by default, and then nothing here does anything.

    `device` is where this rank computes. Methods that exchange something are called by all ranks alike, and raise
    RankError where one of them has ended or does not answer.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: str = "cpu") -> None:
        self.rank = rank
        self.size = size
        self.device = device
        self._messages: dist.ProcessGroup | None = None
        self._patient: dist.ProcessGroup | None = None
        if size > 1:
            self._messages = dist.new_group(backend="gloo", timeout=TIMEOUT)
            self._patient = dist.new_group(backend="gloo", timeout=PATIENCE)

    @property
    def first(self) -> bool:
        """Whether this rank writes files, validates and speaks."""
        return self.rank == 0

    def join(self, model: nn.Module, stage: StageSpec, *batches: Batches | None) -> None:
        """Has the batches of a stage share their steps over the ranks. Raises TrainingError for what cannot be shared
        as it is.
        """
        for each in batches if self.size > 1 else ():
            if each is not None and each.whole and stage.accumulate < self.size:
                raise TrainingError(
                    f"stage '{stage.name}': the loss of {stage.objective.kind} compares the samples of a batch with "
                    f"each other, so {self.size} ranks share whole batches, of which a step has {stage.accumulate}: "
                    f"set accumulate to {self.size} or more, and batch to what one rank takes"
                )
            if each is not None:
                each.ranks = self
        for name, module in model.named_modules() if self.size > 1 else ():
            if isinstance(module, _BatchNorm) and module.training:
                raise TrainingError(
                    f"stage '{stage.name}': {name} normalises over its batch, of which each of {self.size} ranks has "
                    "a part: freeze that part of the model, or train it on one rank"
                )

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This rank's items."""
        return list(items[self.rank :: self.size])

    def joined(self, share: Sequence[Item]) -> list[Item]:
        """The items of all ranks in their order, from each one's `share` of them."""
        every = self.gather(list(share))
        return [every[n % self.size][n // self.size] for n in range(sum(map(len, every)))]

    def pieces(self, batches: int) -> int:
        """Into how many pieces each of a step's batches is cut, so that all ranks have of them: none where whole ones
        share out evenly.
        """
        return 1 if batches % self.size == 0 else self.size

    def laid_out(
        self, step: Sequence[Sequence[int]], make: Callable[[Sequence[int]], Item], *, whole: bool = False
    ) -> list[Item]:
        """What `make` makes of this rank's share of a step's batches of samples, which stay `whole` or may be cut.

        For each sample of the others a number is drawn, as noise on a sample draws one (`data.batching.Collator`).
        """
        count = 1 if whole else self.pieces(len(step))
        parts = [piece for batch in step for piece in cut(batch, count)]
        made = []
        for number, part in enumerate(parts):
            if number % self.size == self.rank:
                made.append(make(part))
            else:
                torch.randint(1 << 62, (len(part),))
        return made

    @contextmanager
    def own_draws(self, seed: int, step: int) -> Iterator[None]:
        """Inside, torch draws what the rank, the step and the run's seed say; afterwards, what it would have."""
        if self.size == 1:
            yield
            return
        device = torch.device(self.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence([seed, step, self.rank]).generate_state(1, np.uint64)[0]))
            yield

    def gather(self, value: Item) -> list[Item]:
        """Every rank's value, by their ranks."""
        if self.size == 1:
            return [value]
        every = [value] * self.size
        with _answered():
            dist.all_gather_object(every, value, group=self._messages)
        return every

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sums of all ranks' values, by their names."""
        total: dict[str, float] = {}
        for each in self.gather(dict(values)):
            for name, value in each.items():
                total[name] = total.get(name, 0) + value
        return total

    def check_alike(self, make: Callable[[], object]) -> None:
        """Raises TrainingError where what `make` gives is not the same on all ranks."""
        every = self.gather(make()) if self.size > 1 else []
        if others := [rank for rank, one in enumerate(every) if one != every[0]]:
            raise TrainingError(
                f"ranks 0 and {others[0]} do not begin with the same weights and samples: give all of them the same "
                "data, recipe and version"
            )

    def by_first(self, make: Callable[[], Item]) -> Item:
        """What rank 0 makes, for all; the others wait for as long as it takes."""
        if self.size == 1:
            return make()
        made = [make() if self.first else None]
        with _answered():
            dist.broadcast_object_list(made, src=0, group=self._patient)
        return cast(Item, made[0])

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sums the gradients of all ranks; parameters without one on any rank stay without."""
        if self.size == 1:
            return
        has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
        with _answered():
            dist.all_reduce(has)
            for bucket in _buckets([p for p, count in zip(parameters, has.tolist(), strict=True) if count]):
                gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
                flat = torch.cat([gradient.flatten() for gradient in gradients])
                dist.all_reduce(flat)
                for p, part in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                    p.grad = part.view_as(p)


@contextmanager
def ranks_of(device: str) -> Iterator[Ranks]:
    """The ranks that torchrun has started, inside `with`, or this process alone.

    Each computes on a GPU of its own where `device` is `cuda`. Raises SepiolaError when they do not come together.
    """
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        yield Ranks(device=device)
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if size == 1:
        yield Ranks(device=device)
        return
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda") or (kind == "cuda" and device != "cuda"):
        raise SepiolaError(
            f"--device {device}: {size} ranks compute on cpu, or on cuda, where each has a GPU of its own"
        )
    if kind == "cuda":
        device = str(find_device(f"cuda:{os.environ.get('LOCAL_RANK', rank)}"))
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=TIMEOUT)
        ranks = Ranks(rank, size, device)
    except (RuntimeError, ValueError) as error:
        raise SepiolaError(f"rank {rank}: the {size} ranks did not come together ({_line(error)})") from None
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def cut(items: Sequence[Item], count: int) -> list[Sequence[Item]]:
    """The items in `count` pieces, one after the other and of like length; in fewer where there are fewer items."""
    count = max(1, min(count, len(items)))
    borders = [round(n * len(items) / count) for n in range(count + 1)]
    return [items[start:end] for start, end in pairwise(borders)]


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one type of number, few enough to be summed at once."""
    bucket: list[nn.Parameter] = []
    room = BUCKET
    for parameter in parameters:
        if bucket and (parameter.numel() > room or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, room = [], BUCKET
        bucket.append(parameter)
        room -= parameter.numel()
    if bucket:
        yield bucket


@contextmanager
def _answered() -> Iterator[None]:
    """Turns a failed exchange into one message."""
    try:
        yield
    except RuntimeError as error:
        raise RankError(
            f"another rank has ended or does not answer ({_line(error)}); its own message says why. What was saved "
            "last is whole: run the same command with --resume to go on"
        ) from None


def _line(error: Exception) -> str:
    """What an error says first, without the place in its source."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^]]*\] ", "", first).partition(". ")[0][:200]
