"""Rows under way by what their constraints allow: which tokens go in, which logits are computed, and what is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sepiola.calling.constraints import ConstrainedRow
from sepiola.calling.drafts import Allowed
from sepiola.generation.row_draws import RowDraws
from sepiola.generation.sampling import Sampling
from sepiola.runtime.executor import Decoding, Executor

TRIES = 8
"""Tokens that are drawn, and left no room for an ending, before the shortest ending is taken."""
SPARSE = 64
"""Of fewer than one token in so many the head's rows are computed alone."""


class ConstrainedDecoding:
    """Continues rows under way by what their constraints allow; tokens that are forced go in with the one before them,
    and where there is one row, those that are guessed to follow.

    `read` `(batch, tokens)` is what `sampling` reads of the prompts.
    """

    def __init__(
        self, executor: Executor, rows: Sequence[ConstrainedRow], sampling: Sampling, read: Tensor, ends: Tensor
    ) -> None:
        self.executor = executor
        self.rows = list(rows)
        self.sampling = sampling
        self.read = read
        self.ends = ends
        self.passes = 0

    def run(self, state: Decoding, first: Tensor, draws: torch.Generator | RowDraws) -> list[list[int]]:
        """The tokens of every row, end tokens left out.

        All rows read the same number of tokens at a time, so that the cache has no holes: as many as wait for each.
        """
        waiting = [[int(token), *row.forced()] for token, row in zip(first[:, 0], self.rows, strict=True)]
        alive = [*range(len(self.rows))]
        generators = draws.each if isinstance(draws, RowDraws) else [draws] * len(self.rows)
        while True:
            keep = [place for place, i in enumerate(alive) if not self.rows[i].done]
            if len(keep) < len(alive):
                alive = [alive[place] for place in keep]
                if alive:
                    state.select(torch.tensor(keep, device=first.device))
            if not alive:
                return [row.written for row in self.rows]
            if len(alive) == 1:
                self._alone(alive[0], waiting[alive[0]], state, generators[alive[0]])
                continue
            count = min(len(waiting[i]) for i in alive)
            tokens = torch.tensor([waiting[i][:count] for i in alive], device=first.device)
            states = state.extend(tokens)[:, -1]
            self.passes += 1
            for i in alive:
                del waiting[i][:count]
            ready = [place for place, i in enumerate(alive) if not waiting[i]]
            drawing = [alive[place] for place in ready]
            if len(ready) < len(alive):
                states = states[torch.tensor(ready, device=first.device)]
            logits = self._logits(states, [self.rows[i].allowed() for i in drawing])
            for i, some in zip(drawing, logits, strict=True):
                waiting[i] = [self._draw(i, some, generators[i]), *self.rows[i].forced()]

    def _alone(self, i: int, waiting: list[int], state: Decoding, generator: torch.Generator) -> None:
        """Writes a row to its end. A pass reads the tokens that wait and those that are guessed; the row then draws
        every token as it would have without the guess, and what was not drawn is forgotten.
        """
        row = self.rows[i]
        while not row.done:
            guess = row.draft()
            tokens = torch.tensor([[*waiting, *guess.tokens]], device=self.executor.device)
            places = torch.tensor([len(waiting) - 1 + place for place in guess.allowed], device=tokens.device)
            states = state.extend(tokens)[0, places]
            self.passes += 1
            logits = dict(zip(guess.allowed, self._logits(states, [*guess.allowed.values()]), strict=True))
            taken, waiting = 0, []
            while not waiting and not row.done:
                waiting = [self._draw(i, logits[taken], generator), *row.forced()]
                while waiting and guess.tokens[taken : taken + 1] == waiting[:1]:
                    del waiting[0]
                    taken += 1
            state.rewind(len(guess.tokens) - taken)
            if guess.tokens:
                row.guessed(taken)

    def _logits(self, states: Tensor, allowed: Sequence[Allowed]) -> Tensor:
        """Float32 logits `(batch, vocabulary)` with all that is not allowed at -inf; few rows of the head for few."""
        size = self.executor.spec.vocabulary
        if sum(int(np.count_nonzero(one)) for one in allowed) * SPARSE > size:
            with np.errstate(divide="ignore"):  # 0 or -inf: adding is far quicker than filling by a mask
                barred = 1 - 1 / np.stack(allowed)[:, :size].astype(np.float32)
            return self.executor.logits(states).float() + torch.from_numpy(barred).to(states.device)
        each = [np.flatnonzero(one[:size]) for one in allowed]
        some = np.unique(np.concatenate(each))
        few = self.executor.logits(states, torch.from_numpy(some).to(states.device)).float()
        logits = torch.full((len(states), size), -torch.inf, device=states.device)
        for row, (values, ids) in enumerate(zip(few, each, strict=True)):
            logits[row, torch.from_numpy(ids)] = values[torch.from_numpy(np.searchsorted(some, ids))]
        return logits

    def _draw(self, i: int, logits: Tensor, generator: torch.Generator) -> int:
        """The row's next token, which it has taken in. Penalties that leave none of what is allowed do not count."""
        row, logits = self.rows[i], logits[None]
        for _ in range(TRIES):
            chosen = logits
            if not self.sampling.plain:
                written = torch.tensor([row.written], dtype=torch.long, device=logits.device)
                tokens = torch.cat((self.read[i : i + 1], written), dim=1)
                processed = self.sampling.process(logits, tokens, prompt=self.read.shape[1], ends=self.ends)
                processed = torch.where(logits == -torch.inf, logits, processed)
                chosen = processed if _some(processed) else logits
            if not _some(chosen):
                break
            drawn = self.sampling.pick(chosen, generator)
            if row.accept(token := int(drawn)):
                return token
            logits = logits.index_fill(1, drawn.flatten(), -torch.inf)
        token = row.shortest()
        row.accept(token)
        return token


def _some(logits: Tensor) -> bool:
    """Whether any token is left."""
    return bool(logits.amax() != -torch.inf)
