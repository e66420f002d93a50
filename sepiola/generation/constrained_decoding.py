"""Rows under way by what their constraints allow: which tokens go in, which logits are computed, and what is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sepiola.calling.constrained_row import SPARSE, ConstrainedRow
from sepiola.calling.drafts import Allowed
from sepiola.generation.row_draws import RowDraws
from sepiola.generation.sampling import Sampling
from sepiola.runtime.executor import Decoding, Executor

TRIES = 8
"""Tokens that are drawn, and left no room for an ending, before the shortest ending is taken."""


class ConstrainedDecoding:
    """Continues rows under way by what their constraints allow; tokens that are forced go in with the one before them,
    and where there is one row, those that are guessed to follow.

    `read` `(batch, tokens)` is what `sampling` reads of the prompts. Where nothing is left to chance, the likeliest of
    all tokens is the likeliest of those that may follow where it may follow itself: within a text that alone is asked.
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
        self.asks = sampling.temperature == 0

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
            allowed = [self.rows[i].following() if self.asks else self.rows[i].allowed() for i in drawing]
            for i, one, some in zip(drawing, allowed, self._logits(states, allowed), strict=True):
                waiting[i] = [self._draw(i, some, one is not None, generators[i]), *self.rows[i].forced()]

    def _alone(self, i: int, waiting: list[int], state: Decoding, generator: torch.Generator) -> None:
        """Writes a row to its end. A pass reads the tokens that wait and those that are guessed; the row then draws
        every token as it would have without the guess, and what was not drawn is forgotten.
        """
        row = self.rows[i]
        while not row.done:
            guess = row.draft(asks=self.asks)
            tokens = torch.tensor([[*waiting, *guess.tokens]], device=self.executor.device)
            states = state.extend(tokens)[0, len(waiting) - 1 :]
            if len(guess.allowed) < len(states):
                states = states[[*guess.allowed]]
            self.passes += 1
            logits = dict(zip(guess.allowed, self._logits(states, [*guess.allowed.values()]), strict=True))
            taken, waiting = 0, []
            while not waiting and not row.done:
                known = guess.allowed[taken] is not None
                waiting = [self._draw(i, logits[taken], known, generator), *row.forced()]
                while waiting and guess.tokens[taken : taken + 1] == waiting[:1]:
                    del waiting[0]
                    taken += 1
            state.rewind(len(guess.tokens) - taken)
            if guess.tokens:
                row.guessed(taken)

    def _logits(self, states: Tensor, allowed: Sequence[Allowed | None]) -> Tensor:
        """Float32 logits `(batch, vocabulary)` with all that is not allowed at -inf, of rows where that is known; few
        rows of the head for few.
        """
        size = self.executor.spec.vocabulary
        known = [one[:size] for one in allowed if one is not None]
        if len(known) < len(allowed) or sum(int(np.count_nonzero(one)) for one in known) * SPARSE > size:
            logits = self.executor.logits(states).float()
            for place, one in enumerate(allowed):
                if one is not None:
                    logits[place] += self._barred(one)
            return logits
        each = [np.flatnonzero(one) for one in known]
        some = np.unique(np.concatenate(each))
        few = self.executor.logits(states, torch.from_numpy(some).to(states.device)).float()
        logits = torch.full((len(states), size), -torch.inf, device=states.device)
        for row, (values, ids) in enumerate(zip(few, each, strict=True)):
            logits[row, torch.from_numpy(ids)] = values[torch.from_numpy(np.searchsorted(some, ids))]
        return logits

    def _barred(self, allowed: Allowed) -> Tensor:
        """-inf for what is not allowed, and 0: adding is far quicker than filling by a mask."""
        with np.errstate(divide="ignore"):
            barred = 1 - 1 / allowed[: self.executor.spec.vocabulary].astype(np.float32)
        return torch.from_numpy(barred).to(self.executor.device)

    def _draw(self, i: int, logits: Tensor, known: bool, generator: torch.Generator) -> int:
        """The row's next token, which it has taken in. Where it is not `known` in the logits what is allowed, that is
        asked of the one that is drawn. Penalties that leave none of what is allowed do not count.
        """
        row, logits = self.rows[i], logits[None]
        if not known:
            likeliest = self._processed(i, logits).max(-1)
            token = int(likeliest.indices)
            if float(likeliest.values) > -torch.inf and row.may(token) and row.accept(token):
                return token
            logits = logits + self._barred(row.allowed())
        for _ in range(TRIES):
            processed = self._processed(i, logits)
            chosen = torch.where(logits == -torch.inf, logits, processed)
            chosen = chosen if _some(chosen) else logits
            if not _some(chosen):
                break
            drawn = self.sampling.pick(chosen, generator)
            if row.accept(token := int(drawn)):
                return token
            logits = logits.index_fill(1, drawn.flatten(), -torch.inf)
        token = row.shortest()
        row.accept(token)
        return token

    def _processed(self, i: int, logits: Tensor) -> Tensor:
        """A row's logits with all that changes them."""
        if self.sampling.plain:
            return logits
        written = torch.tensor([self.rows[i].written], dtype=torch.long, device=logits.device)
        tokens = torch.cat((self.read[i : i + 1], written), dim=1)
        return self.sampling.process(logits, tokens, prompt=self.read.shape[1], ends=self.ends)


def _some(logits: Tensor) -> bool:
    """Whether any token is left."""
    return bool(logits.amax() != -torch.inf)
