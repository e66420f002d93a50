"""Rows under way, each until it is done: one token of every row a step. Rows that are done leave the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

import torch
from torch import Tensor

from sepiola.generation.row_draws import RowDraws
from sepiola.generation.sampling import Sampling
from sepiola.runtime.executor import Decoding, Executor

RowEnd = Callable[[int], bool]
"""Given the tokens of one row, one at a time, it says whether the row is over with this one."""


class RowDecoding:
    """Continues rows until an end token (`ends`), until their own `stop` says so (one is made for each), or until each
    has its limit. Where they are `scored`, it adds up how likely what they drew was.
    """

    def __init__(
        self,
        executor: Executor,
        sampling: Sampling,
        ends: Tensor,
        limits: Sequence[int],
        stop: Callable[[], RowEnd] | None,
        scored: bool = False,
    ) -> None:
        self.executor = executor
        self.sampling = sampling
        self.ends = ends
        self.limits = limits
        self.stop = stop
        self.scored = scored
        self.log_probabilities: list[float] = [0.0] * len(limits)
        self.drawn: list[int] = [0] * len(limits)

    def run(self, state: Decoding, first: Tensor, read: Tensor, draws: torch.Generator | RowDraws) -> list[list[int]]:
        """The tokens of every row, the end token left out; rows that are done leave once a quarter of the batch is.

        `read` `(batch, tokens)` is what `sampling` reads of the prompts. A row that has its limit leaves at once, for
        it may have no position left. `log_probabilities` of scored rows are then those of all tokens that each row
        drew, the end token among them, under the model's own distribution, and `drawn` their number.
        """
        limits, device = self.limits, first.device
        rows, prompt, most = first.shape[0], read.shape[1], max(limits)
        results: list[list[int]] = [[] for _ in range(rows)]
        alive = torch.arange(rows, device=device)
        tokens, following = read, first
        done = torch.zeros(rows, dtype=torch.bool, device=device)
        stops = [self.stop() for _ in range(rows)] if self.stop is not None else []
        lengths = [*limits]  # how many of each row's tokens are its own
        likely = torch.zeros(rows, dtype=torch.double, device=device)
        counts = torch.zeros(rows, dtype=torch.long, device=device)
        for step in range(1, most + 1):
            logits = self.executor.logits(state.extend(following)[:, -1])
            drawn = self.sampling.draw(logits, tokens, draws, prompt=prompt, ends=self.ends, last=step == most)
            following = drawn[:, None]
            if self.scored:
                logits = logits.float()
                of_drawn = (logits.gather(1, following).squeeze(1) - logits.logsumexp(1)).double()
                likely[alive] += torch.where(done, 0.0, of_drawn)
                counts[alive] += (~done).long()
            tokens = torch.cat((tokens, following), dim=1)
            done |= torch.isin(drawn, self.ends)
            if stops:
                over = done.tolist()
                for i, (row, token) in enumerate(zip(alive.tolist(), drawn.tolist(), strict=True)):
                    if not over[i] and stops[row](token):
                        over[i], lengths[row] = True, step
                done = torch.tensor(over, device=device)
            full = step < most and step in limits
            if full:
                done |= torch.tensor([limits[row] == step for row in alive.tolist()], device=device)
            finished = int(done.sum())
            if finished == len(done):
                break
            if full or finished * 4 >= len(done):
                for i in done.nonzero().flatten().tolist():
                    results[int(alive[i])] = tokens[i, prompt:].tolist()
                keep = (~done).nonzero().flatten()
                state.select(keep)
                alive, tokens, done, following = alive[keep], tokens[keep], done[keep], following[keep]
                if not isinstance(draws, torch.Generator):
                    draws.select(keep)
        for i, row in enumerate(alive.tolist()):
            results[row] = tokens[i, prompt:].tolist()
        self.log_probabilities, self.drawn = likely.tolist(), counts.tolist()
        ends = set(self.ends.tolist())
        return [
            list(takewhile(lambda token: token not in ends, written[:length]))
            for written, length in zip(results, lengths, strict=True)
        ]
