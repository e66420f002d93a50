"""Several replies to one context, sampled and rated from one cache (LaMDA, arXiv 2201.08239, section 5).

The context is read once, the replies are one batch over it, and each row, which has read its reply already, goes on
with the token of one attribute after the other: a rating is one more token. A row that has ended waits as padding,
which nothing sees.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sepiola.errors import DataError, SepiolaError
from sepiola.generation.engine import Engine
from sepiola.generation.sampling import Sampling

READS = ("context", "replies", "ratings")


class Candidates:
    """`rows` replies of at most `room` tokens to one context. `tokens` counts what went through the model, padding
    included, by what it was for (`READS`), and `passes` how often the model was run for it.

    Raises SepiolaError for an encoder-decoder, and for positions that padding or the whole text's length would change;
    DataError for a context that leaves no room among the model's positions.
    """

    @torch.inference_mode()
    def __init__(self, engine: Engine, context: Sequence[int], rows: int, room: int) -> None:
        positions = engine.spec.positions
        if not engine.causal or positions.border is not None or positions.kind == "transformer-xl":
            raise SepiolaError(
                "replies are sampled and rated from one cache by decoders alone, whose positions depend neither on "
                "padding nor on what follows"
            )
        needed = len(context) + room + 1
        if engine.length is not None and needed > engine.length:
            raise DataError(
                f"a context of {len(context)} tokens, replies of {room} and a rating need {needed} positions; the "
                f"model has {engine.length}: shorten the dialogue or the replies"
            )
        self.engine = engine
        self.tokens = {**dict.fromkeys(READS, 0), "context": len(context) - 1}
        self.passes = {**dict.fromkeys(READS, 0), "context": 1}
        prompt = torch.tensor([list(context)], device=engine.device)
        self.state = engine.executor.begin(prompt, room + 2, attention_mask=None)
        self.state.select(torch.zeros(rows, dtype=torch.long, device=engine.device))
        self.context = prompt.expand(rows, -1)
        self.room = room

    @torch.inference_mode()
    def sample(self, sampling: Sampling, ends: frozenset[int]) -> list[list[int]]:
        """A reply in each row, without the token of `ends` that ended it; none of more tokens than the room."""
        device, rows = self.engine.device, len(self.context)
        generator = torch.Generator(device).manual_seed(sampling.seed)
        ending = torch.tensor(sorted(ends), dtype=torch.long, device=device)
        known = self.context if sampling.reads_prompt else self.context[:, :0]
        before, alive = known.shape[1], torch.ones(rows, dtype=torch.bool, device=device)
        replies: list[list[int]] = [[] for _ in range(rows)]
        states = self._extend("replies", self.context[:, -1:])
        with self.engine.executor.working():
            for step in range(1, self.room + 1):
                logits = self.engine.executor.logits(states[:, -1])
                drawn = sampling.draw(logits, known, generator, prompt=before, ends=ending, last=step == self.room)
                known = torch.cat((known, drawn[:, None]), dim=1)
                alive &= ~torch.isin(drawn, ending)
                for row in alive.nonzero().flatten().tolist():
                    replies[row].append(int(drawn[row]))
                if not bool(alive.any()):
                    break
                states = self._extend("replies", drawn[:, None], alive[:, None])
        return replies

    @torch.inference_mode()
    def take(self, replies: Sequence[Sequence[int]]) -> None:
        """Reads given replies, one a row."""
        device, width = self.engine.device, max(map(len, replies))
        filled = [[*reply, *[self.engine.tokens.pad] * (width - len(reply))] for reply in replies]
        real = [[1] * (1 + len(reply)) + [0] * (width - len(reply)) for reply in replies]
        following = torch.tensor(filled, dtype=torch.long, device=device).reshape(len(replies), width)
        self._extend("replies", torch.cat((self.context[:, -1:], following), dim=1), torch.tensor(real, device=device))

    @torch.inference_mode()
    def rate(self, attribute: int, ratings: tuple[int, int]) -> list[float]:
        """How likely the second of two tokens is against the first, after each reply and the token of an attribute."""
        rows = len(self.context)
        states = self._extend("ratings", torch.full((rows, 1), attribute, device=self.engine.device))
        logits = self.engine.executor.logits(states[:, -1], torch.tensor(ratings, device=self.engine.device))
        self.state.rewind(1)
        shares: list[float] = logits.double().softmax(-1)[:, 1].tolist()
        return shares

    def _extend(self, purpose: str, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        self.tokens[purpose] += tokens.numel()
        self.passes[purpose] += 1
        mask = None if real is None or bool(real.all()) else real.long()
        return self.state.extend(tokens, attention_mask=mask)
