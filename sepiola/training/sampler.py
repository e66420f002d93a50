"""What a policy writes after prompts: token ids as they were drawn, never text that is tokenised again.

Tokens come from the policy's own distribution at a temperature (no top-k, no top-p), several completions of a prompt
share its prefill, and a grammar may say what they can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sepiola.calling.constraints import Grammar
from sepiola.data.batching import IGNORED, Batch, Collator, Sample
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.row_draws import seed_of
from sepiola.generation.sampling import Sampling
from sepiola.models.multimodal.interleaved import interleaved
from sepiola.runtime.plain import TorchExecutor
from sepiola.training.batches import ImageInputs
from sepiola.training.policy import RolloutBatch, packed


@dataclass(frozen=True)
class Completion:
    """Ids without the end token, and whether that came.

    Under a grammar `free` says which of the ids, and of the end token, were drawn and not forced, and `allowed` what
    could be drawn there, packed.
    """

    ids: tuple[int, ...]
    ended: bool
    free: tuple[bool, ...] | None = None
    allowed: tuple[np.ndarray[Any, Any], ...] = ()

    @property
    def labelled(self) -> int:
        """How many tokens were drawn and not forced."""
        return len(self.ids) + self.ended if self.free is None else sum(self.free)

    @property
    def whole(self) -> bool:
        """Whether it ended before the limit did: under a grammar all do."""
        return self.ended or self.free is not None


class PolicySampler:
    """Writes with the network as it is at the moment, `batch` rows at a time, at most `max_tokens` a completion."""

    def __init__(
        self,
        network: nn.Module,
        collate: Collator,
        images: ImageInputs,
        *,
        max_tokens: int,
        temperature: float = 1.0,
        grammar: Grammar | None = None,
        batch: int = 64,
    ) -> None:
        self.engine = Engine(TorchExecutor(network), batch=batch)
        self.sees = interleaved(network)
        self.collate = collate
        self.images = images
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.grammar = grammar
        placeholder = self.sees.token if self.sees is not None else None
        self.forbidden = [] if placeholder is None else [placeholder]

    def write(
        self, prompts: Sequence[Sample], samples: int, places: Sequence[int] | None = None
    ) -> list[list[Completion]]:
        """So many completions of each prompt, or of those at these `places`.

        What is drawn follows torch's generator and a prompt's place, whatever else is written.
        """
        drawn, places = int(torch.randint(2**62, ())), range(len(prompts)) if places is None else places
        seeds = [[seed_of(drawn, place, number) for number in range(samples)] for place in places]
        laid_out = [self.prompt(prompts[place]) for place in places]
        sampling = Sampling(self.temperature, suppress_tokens=self.forbidden)
        self.engine.executor.network.eval()  # type: ignore[attr-defined]
        written = self.engine.generate(
            laid_out, max_tokens=self.max_tokens, sampling=sampling, samples=samples, grammar=self.grammar, seeds=seeds
        )
        limits = [self.engine.room(prompt, self.max_tokens) for prompt in laid_out]
        return [[self._completion(ids, most) for ids in row] for row, most in zip(written, limits, strict=True)]

    def prompt(self, sample: Sample) -> Prompt:
        """The sample's source and pictures as the engine takes them."""
        pictures: Tensor | None = None
        if sample.images and self.images.features is not None:
            (pictures,) = self.images.features([sample.images])
            if self.sees is not None:
                pictures = pictures.unflatten(0, (-1, self.collate.patches or 1))
        elif sample.images and self.images.pixels is not None:
            opened = self.images.pixels(sample.images)
            pictures = torch.stack(opened) if self.sees is None else torch.cat(opened)
        if pictures is None:
            return Prompt(list(sample.source))
        sizes = self.sees.sizes(sample.images) if self.sees is not None else None
        return Prompt(list(sample.source), pictures, sizes, sample.instruction)

    def _completion(self, ids: Sequence[int], most: int) -> Completion:
        if self.grammar is None:
            return Completion(tuple(ids), len(ids) < most)
        return replayed(self.grammar, ids, most)

    def lay_out(self, prompts: Sequence[Sample], completions: Sequence[Completion], rewards: Tensor) -> RolloutBatch:
        """Completions behind their prompts, with what they were worth."""
        end = self.engine.tokens.end
        rows: list[Sample] = []
        free: list[bool] = []
        allowed: list[np.ndarray[Any, Any]] = []
        for prompt, completion in zip(prompts, completions, strict=True):
            target = (*completion.ids, end) if completion.ended else completion.ids
            drawn = completion.free if completion.free is not None else (True,) * len(target)
            rows.append(replace(prompt, target=target or (end,)))
            free += drawn or (False,)
            allowed += completion.allowed
        batch: Batch = self.collate(rows)
        labels = batch.labels.clone()
        labels[batch.labels != IGNORED] = labels[batch.labels != IGNORED].where(torch.tensor(free), IGNORED)
        held = torch.from_numpy(np.stack(allowed)) if allowed else None
        laid_out = vars(batch) | {"labels": labels, "labelled": int((labels != IGNORED).sum())}
        return RolloutBatch(**laid_out, rewards=rewards, forbidden=torch.tensor(self.forbidden).long(), allowed=held)


def replayed(grammar: Grammar, ids: Sequence[int], budget: int) -> Completion:
    """A completion that was written under a grammar, with what could be written at each of its places.

    What the budget alone excludes, near its end, counts as allowed.
    """
    row = grammar.begin(budget)
    free: list[bool] = [False] * len(row.forced())
    allowed: list[np.ndarray[Any, Any]] = []
    while not row.done:
        free.append(True)
        allowed.append(packed(row.mask()))
        if len(free) > len(ids):
            break
        row.accept(ids[len(free) - 1])
        free += [False] * len(row.forced())
    return Completion(tuple(ids), len(free) > len(ids), tuple(free), tuple(allowed))
