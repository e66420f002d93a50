"""What a trainer draws from: the batches of each step, and where they stand.

`SampleBatches` are made of samples that are known beforehand; those of `sepiola.training.rollouts` are sampled from the
model itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sepiola.data.batching import Batch, FeatureRows, Pixels, Row, Sample
from sepiola.data.sampler import BatchSampler
from sepiola.errors import TrainingError
from sepiola.specs.model import TransformerSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.ranks import Ranks

LONGEST = 4  # batches that are laid out to find the largest

Collate = Callable[[Sequence[Sample | Row]], Batch]
"""Lays some samples out as a batch."""


@dataclass(frozen=True)
class ImageInputs:
    """How images reach the model: as `features` of a frozen vision encoder, or as `pixels` for one that learns.

    With neither, images are left out of the batches.
    """

    features: FeatureRows | None = None
    pixels: Pixels | None = None


class Batches(Protocol):
    """The batches of one stage, a step at a time, which several `ranks` share.

    Where the loss compares the samples of a batch with one another they share batches as they are (`whole`).
    """

    steps_per_epoch: int
    ranks: Ranks
    whole: bool

    @property
    def epoch(self) -> float:
        """Epochs so far, a part of one included; a whole number at an epoch's end."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What there is: `samples`, and how many were cut (`truncated_sources`, `truncated_targets`)."""

    def next(self) -> list[Batch]:
        """The rank's batches of the next step; each token of a step weighs alike."""

    def once(self) -> Iterator[Batch]:
        """Everything once, in an order that is always the same: validation."""

    def peek(self, steps: int) -> list[list[Batch]]:
        """The batches of some steps, spread over an epoch, without moving on."""

    def largest(self) -> Batch:
        """The batch of an epoch that takes the most memory, without moving on."""

    def state(self) -> dict[str, Any]:
        """Where the order stands, and what was drawn and is still of use: plain data and tensors."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` stood."""

    def fingerprint(self) -> str:
        """What tells these batches from those of another run."""


class SampleBatches:
    """Samples in a shuffled order, each once an epoch.

    Those longer than `room` (source, target; by default the stage's tokens) are cut. Raises TrainingError when there
    are none, and when one does not fit the model of `spec`.
    """

    def __init__(
        self,
        samples: Sequence[Sample | Row],
        stage: StageSpec,
        spec: TransformerSpec,
        collate: Collate,
        *,
        seed: int = 0,
        room: tuple[int, int] | None = None,
        whole: bool = False,
    ) -> None:
        if not samples:
            raise TrainingError(f"stage '{stage.name}': there are no samples to train on")
        room = room or (stage.source_tokens, stage.target_tokens)
        self.samples = [sample.cut(*room).compact() for sample in samples]
        self.collate = collate
        self.batch = stage.batch
        self.ranks = Ranks()
        self.whole = whole
        uncut = [part for sample in samples for part in sample.parts]
        cut = [part for sample in self.samples for part in sample.parts]
        pairs = list(zip(cut, uncut, strict=True))
        self.counts = {
            "samples": len(samples),
            "truncated_sources": sum(len(after.source) < len(before.source) for after, before in pairs),
            "truncated_targets": sum(len(after.target) < len(before.target) for after, before in pairs),
        }
        check_lengths(spec, cut)
        lengths = [sample.length for sample in self.samples]
        self.sampler = BatchSampler(lengths, stage.batch, accumulate=stage.accumulate, seed=seed)
        self.steps_per_epoch = self.sampler.steps_per_epoch

    @property
    def epoch(self) -> float:
        """Epochs so far."""
        return self.sampler.epoch + self.sampler.position / self.steps_per_epoch

    def next(self) -> list[Batch]:
        """The rank's batches of the next step."""
        return self.ranks.laid_out(self.sampler.next_step(), self.lay_out, whole=self.whole)

    def once(self) -> Iterator[Batch]:
        """Every sample once, the shortest first."""
        order = sorted(range(len(self.samples)), key=lambda i: self.samples[i].length)
        for start in range(0, len(order), self.batch):
            yield self.lay_out(order[start : start + self.batch])

    def peek(self, steps: int) -> list[list[Batch]]:
        """The batches of some steps of the first epoch."""
        spread = max(1, self.steps_per_epoch // steps)
        return [[self.lay_out(numbers) for numbers in step] for step in self.sampler.steps(0)[::spread]]

    def largest(self) -> Batch:
        """The batch of the first epoch with the most places, padding included, of the longest few."""
        batches = [numbers for step in self.sampler.steps(0) for numbers in step]
        lengths = self.sampler.lengths
        longest = sorted(batches, key=lambda numbers: len(numbers) * int(lengths[numbers].max()))[-LONGEST:]
        laid_out = map(self.lay_out, reversed(longest))
        return max(laid_out, key=lambda b: b.target.numel() + (0 if b.source is None else b.source.numel()))

    def lay_out(self, numbers: Sequence[int]) -> Batch:
        """The batch of some samples."""
        return self.collate([self.samples[i] for i in numbers])

    def state(self) -> dict[str, int]:
        """Where the order stands."""
        return self.sampler.state()

    def restore(self, state: Mapping[str, int]) -> None:
        """Goes on where `state` stood."""
        self.sampler.restore(dict(state))

    def fingerprint(self) -> str:
        """A digest of all samples' ids and tokens."""
        digest = hashlib.sha256()
        for part in (part for sample in self.samples for part in sample.parts):
            digest.update(part.id.encode())
            for ids in (part.source, part.target):
                digest.update(np.asarray(ids, dtype=np.int64).tobytes())
        return digest.hexdigest()[:16]


def check_lengths(spec: TransformerSpec, samples: Sequence[Sample]) -> None:
    """Raises TrainingError when a sample has more tokens than the positions, or a token outside the vocabulary."""
    positions = spec.positions.length if spec.positions.kind == "learned" else None
    for sample in samples:
        largest = max(int(np.max(ids)) for ids in (sample.source, sample.target) if len(ids))
        if largest >= spec.vocabulary:
            raise TrainingError(
                f"sample {sample.id}: token {largest} is outside the model's vocabulary of {spec.vocabulary}; the "
                "tokenizer is another model's"
            )
        longest = sample.positions_for(spec.kind)
        if positions is not None and longest > positions:
            raise TrainingError(
                f"sample {sample.id}: {longest} tokens, and the model has {positions} positions; lower source_tokens "
                "or target_tokens"
            )
