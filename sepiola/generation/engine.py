"""The engine: token ids and image tensors in, token ids out; it knows nothing of text or datasets.

A batch's sources are encoded (or prefilled) once, several continuations of one prompt share that work, finished
rows leave the batch, and logits are computed only for the last position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from sepiola.generation.sampling import Sampling
from sepiola.models.transformer import DecodingState, LanguageModel
from sepiola.specs.model import SpecialTokens


@dataclass(frozen=True)
class Prompt:
    """Token ids, and the images: features `(patches, width)`, pixels `(images, 3, height, width)` or None."""

    tokens: Sequence[int]
    images: Tensor | None = None


class Engine:
    """Generates from and scores with one model, `batch` rows at a time."""

    def __init__(self, model: nn.Module, *, batch: int = 32) -> None:
        self.model = cast(Any, model.eval())
        self.batch = batch
        self.causal = isinstance(model, LanguageModel)
        self.tokens: SpecialTokens = self.model.spec.tokens
        weight = next(model.parameters())
        self.device, self.dtype = weight.device, weight.dtype

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        samples: int = 1,
        on_done: Callable[[int], None] | None = None,
    ) -> list[list[list[int]]]:
        """For each prompt, `samples` continuations, the end token left out; greedy unless `sampling` says else.

        `on_done` is told how many prompts each finished batch held. Prompts of like length share a batch.
        """
        sampling = sampling or Sampling()
        generator = torch.Generator(self.device).manual_seed(sampling.seed)
        results: list[list[list[int]]] = [[] for _ in prompts]
        for rows in self._batches(prompts, samples):
            state, first = self._begin([prompts[r] for r in rows], max_tokens)
            if samples > 1:
                fan = torch.arange(len(rows), device=self.device).repeat_interleave(samples)
                state.select(fan)
                first = first[fan]
            written = self._decode(state, first, max_tokens, sampling, generator)
            for i, row in enumerate(rows):
                results[row] = written[i * samples : (i + 1) * samples]
            if on_done is not None:
                on_done(len(rows))
        return results

    @torch.inference_mode()
    def score(self, prompts: Sequence[Prompt], options: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
        """For each prompt, the log-likelihood of each of its continuations (token ids, the end token included)."""
        results: list[list[float]] = [[] for _ in prompts]
        most = max((len(o) for o in options), default=1)
        for rows in self._batches(prompts, most):
            longest = max(len(c) for r in rows for c in options[r])
            state, first = self._begin([prompts[r] for r in rows], longest)
            fan = [i for i, r in enumerate(rows) for _ in options[r]]
            fan_rows = torch.tensor(fan, device=self.device)
            state.select(fan_rows)
            continuations = [list(c) for r in rows for c in options[r]]
            padded = self._pad(continuations, left=False)
            inputs = torch.cat((first[fan_rows], padded[:, :-1]), dim=1)
            logits = self.model.head(self.model.extend(inputs, state))
            picked = logits.float().log_softmax(-1).gather(2, padded[..., None]).squeeze(2)
            lengths = torch.tensor([len(c) for c in continuations], device=self.device)
            real = torch.arange(padded.shape[1], device=self.device) < lengths[:, None]
            totals = picked.masked_fill(~real, 0.0).sum(1).tolist()
            for i, total in zip(fan, totals, strict=True):
                results[rows[i]].append(total)
        return results

    def _batches(self, prompts: Sequence[Prompt], fan: int) -> list[list[int]]:
        order = sorted(range(len(prompts)), key=lambda r: len(prompts[r].tokens), reverse=True)
        size = max(1, self.batch // fan)
        return [order[i : i + size] for i in range(0, len(order), size)]

    def _begin(self, prompts: Sequence[Prompt], capacity: int) -> tuple[DecodingState, Tensor]:
        """The state that has read the prompts, and the tokens `(batch, 1)` that go in first."""
        rows = [list(p.tokens) for p in prompts]
        source = self._pad(rows, left=self.causal)
        lengths = torch.tensor([len(r) for r in rows], device=self.device)
        index = torch.arange(source.shape[1], device=self.device)
        real = index >= source.shape[1] - lengths[:, None] if self.causal else index < lengths[:, None]
        mask = None if bool(real.all()) else real.long()
        if self.causal:
            return self.model.begin(source, capacity, attention_mask=mask), source[:, -1:]
        arguments = self._images(prompts)
        state = self.model.begin(source, capacity, attention_mask=mask, **arguments)
        return state, torch.full((len(rows), 1), self.tokens.start, device=self.device)

    def _images(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """The batch's images stacked, rows with fewer (or none) filled with zeros that no token sees."""
        given = [p.images for p in prompts]
        first = next((i for i in given if i is not None), None)
        if first is None:
            return {}
        most = max(len(i) for i in given if i is not None)
        stacked = torch.zeros(len(given), most, *first.shape[1:], dtype=self.dtype, device=self.device)
        mask = torch.zeros(len(given), most, dtype=torch.long, device=self.device)
        for row, images in enumerate(given):
            if images is not None:
                stacked[row, : len(images)] = images.to(self.device, self.dtype)
                mask[row, : len(images)] = 1
        return {"images": stacked, "image_mask": mask}

    def _decode(
        self, state: DecodingState, first: Tensor, max_tokens: int, sampling: Sampling, generator: torch.Generator
    ) -> list[list[int]]:
        """Continues every row until its end token; rows that are done leave once a quarter of the batch is."""
        rows = first.shape[0]
        results: list[list[int]] = [[] for _ in range(rows)]
        alive = torch.arange(rows, device=self.device)
        written = torch.empty(rows, 0, dtype=torch.long, device=self.device)
        done = torch.zeros(rows, dtype=torch.bool, device=self.device)
        tokens = first
        for _ in range(max_tokens):
            logits = self.model.head(self.model.extend(tokens, state)[:, -1])
            drawn = sampling.draw(logits, written, generator)
            written = torch.cat((written, drawn[:, None]), dim=1)
            tokens = drawn[:, None]
            done |= drawn == self.tokens.end
            finished = int(done.sum())
            if finished == len(done):
                break
            if finished * 4 >= len(done):
                for i in done.nonzero().flatten().tolist():
                    results[int(alive[i])] = written[i].tolist()
                keep = (~done).nonzero().flatten()
                state.select(keep)
                alive, written, done, tokens = alive[keep], written[keep], done[keep], tokens[keep]
        for i, row in enumerate(alive.tolist()):
            results[row] = written[i].tolist()
        return [self._trim(r) for r in results]

    def _trim(self, tokens: list[int]) -> list[int]:
        end = self.tokens.end
        return tokens[: tokens.index(end)] if end in tokens else tokens

    def _pad(self, rows: Sequence[list[int]], *, left: bool) -> Tensor:
        longest = max(len(r) for r in rows)
        pad = self.tokens.pad
        full = [[pad] * (longest - len(r)) + r if left else r + [pad] * (longest - len(r)) for r in rows]
        return torch.tensor(full, dtype=torch.long, device=self.device)
