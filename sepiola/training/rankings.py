"""Batches of preferences: the completions of each prompt, laid out as rows of their own, and which of them beat which.

All completions of a prompt are one element of a batch, so that each is read once however many it is compared with
(InstructGPT, arXiv 2203.02155, section 3.5).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepiola.data.batching import Batch, Collator, Row, Sample
from sepiola.specs.model import TransformerSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.batches import SampleBatches
from sepiola.training.policy import RolloutBatch


@dataclass(frozen=True)
class Ranking(Row):
    """The completions of one prompt, each a part with its score. `counts` are what each token of each part counts,
    where they do not count alike; `weight` is what the prompt counts.
    """

    scores: tuple[float, ...] = ()
    counts: tuple[tuple[float, ...], ...] | None = None
    weight: float = 1.0

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Which parts beat which; of a tie neither does."""
        both = combinations(range(len(self.scores)), 2)
        ordered = [pair if self.scores[pair[0]] > self.scores[pair[1]] else pair[::-1] for pair in both]
        return [(i, j) for i, j in ordered if self.scores[i] != self.scores[j]]


@dataclass(frozen=True, kw_only=True)
class RankingBatch(RolloutBatch):
    """Completions that others wrote; `labelled` counts prompts, and `rewards` are the completions' scores.

    `better` and `worse` `(pairs,)` are the rows that are compared, `gaps` how far their scores lie apart, and `among`
    how many pairs their prompt has. `prompt_weights` `(prompts,)` are what each prompt counts, `prompts`
    `(rows,)` whose completion a row is. `before` `(rows,)` are log-probabilities of whole completions under the
    reference, where they are known.
    """

    better: Tensor
    worse: Tensor
    gaps: Tensor
    among: Tensor
    prompts: Tensor
    prompt_weights: Tensor
    before: Tensor | None = None


class RankingCollator:
    """Lays rankings out as a batch, each completion as the `collate` of text does."""

    def __init__(self, collate: Collator) -> None:
        self.collate = collate

    def __call__(self, rankings: Sequence[Sample | Row]) -> RankingBatch:
        chosen = [ranking for ranking in rankings if isinstance(ranking, Ranking)]
        parts = [part for ranking in chosen for part in ranking.parts]
        batch = self.collate(parts)
        starts = np.cumsum([0, *(len(ranking.parts) for ranking in chosen)])
        pairs = [(first + i, first + j) for first, one in zip(starts, chosen, strict=False) for i, j in one.pairs]
        better, worse = torch.tensor(pairs, dtype=torch.long).view(-1, 2).unbind(1)
        scores = torch.tensor([score for ranking in chosen for score in ranking.scores])
        counts = [len(ranking.pairs) for ranking in chosen]
        laid_out = {f.name: getattr(batch, f.name) for f in fields(Batch)} | {"labelled": len(chosen)}
        return RankingBatch(
            **laid_out,
            rewards=scores,
            forbidden=torch.zeros(0, dtype=torch.long),
            weights=_token_counts(chosen, parts),
            better=better,
            worse=worse,
            gaps=scores[better] - scores[worse],
            among=torch.tensor([count for count in counts for _ in range(count)]),
            prompts=torch.tensor([place for place, ranking in enumerate(chosen) for _ in ranking.parts]),
            prompt_weights=torch.tensor([ranking.weight for ranking in chosen]),
        )


def _token_counts(rankings: Sequence[Ranking], parts: Sequence[Sample]) -> Tensor | None:
    """What each label counts, row after row; None where all count alike."""
    if all(ranking.counts is None for ranking in rankings):
        return None
    each = [row for ranking in rankings for row in ranking.counts or ()]
    return torch.tensor([count for row, part in zip(each, parts, strict=True) for count in row[: len(part.target)]])


class RankingBatches(SampleBatches):
    """Rankings in a shuffled order, each once an epoch. `known` counts what was left out of the data, by why.

    With a `reference`, batches say how likely it finds each completion; what it says is kept in the run's state.
    """

    def __init__(
        self,
        rankings: Sequence[Ranking],
        stage: StageSpec,
        spec: TransformerSpec,
        collate: RankingCollator,
        *,
        seed: int = 0,
        known: Mapping[str, int] | None = None,
        reference: Reference | None = None,
        whole: bool = False,
    ) -> None:
        super().__init__(rankings, stage, spec, collate, seed=seed, whole=whole)
        self.counts |= known or {}
        self.reference = reference
        self.name = self.fingerprint()
        self.starts = np.cumsum([0, *(len(ranking.parts) for ranking in rankings)])
        if reference is not None:
            reference.asked.append(self)

    def next(self) -> list[Batch]:
        """The rank's batches of the next step."""
        return [*self.ranks.laid_out(self.sampler.next_step(), self._judged, whole=self.whole)]

    def once(self) -> Iterator[Batch]:
        """Every ranking once, the shortest first."""
        for numbers in self.in_order():
            yield self._judged(numbers)

    def largest(self) -> Batch:
        """The batch that takes the most memory; what the reference says is 0 in it."""
        batch = ranked(super().largest())
        return batch if self.reference is None else replace(batch, before=torch.zeros(len(batch.prompts)))

    def state(self) -> dict[str, Any]:
        """Where the order stands, and what the reference says."""
        return {**super().state(), "reference": None if self.reference is None else self.reference.said}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` stood."""
        if self.reference is not None:
            self.reference.said = state["reference"]
        super().restore({name: value for name, value in state.items() if name != "reference"})

    def fingerprint(self) -> str:
        """A digest of all ids and tokens, of scores, and of what they count."""
        about = [(one.scores, one.counts, one.weight) for one in self.samples if isinstance(one, Ranking)]
        return f"{super().fingerprint()}-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:8]}"

    def in_order(self) -> Iterator[list[int]]:
        """The numbers of all rankings, a batch at a time, the shortest first."""
        order = sorted(range(len(self.samples)), key=lambda i: self.samples[i].length)
        yield from (order[start : start + self.batch] for start in range(0, len(order), self.batch))

    def laid_out(self, numbers: Sequence[int]) -> RankingBatch:
        """The batch of some rankings."""
        return ranked(self.collate([self.samples[i] for i in numbers]))

    def rows(self, numbers: Sequence[int]) -> Tensor:
        """The places of these rankings' completions among all."""
        return torch.cat([torch.arange(self.starts[i], self.starts[i + 1]) for i in numbers])

    def _judged(self, numbers: Sequence[int]) -> RankingBatch:
        batch = self.laid_out(numbers)
        return batch if self.reference is None else replace(batch, before=self.reference.of(self)[self.rows(numbers)])


class Reference:
    """How likely a reference finds the completions of a stage, each as a whole; `compute` gives a number a row.

    The reference is the network at the stage's beginning. All is computed when the first batch is asked for, before the
    first step, so that no copy of the network is kept.
    """

    def __init__(self, compute: Callable[[RankingBatch], Tensor]) -> None:
        self.compute = compute
        self.asked: list[RankingBatches] = []
        self.said: dict[str, Tensor] | None = None

    def of(self, batches: RankingBatches) -> Tensor:
        """A number for each completion of some batches."""
        if self.said is None:
            self.said = {each.name: self._all(each) for each in self.asked}
        return self.said[batches.name]

    def _all(self, batches: RankingBatches) -> Tensor:
        said = torch.zeros(int(batches.starts[-1]))
        order = [*batches.in_order()]
        own = [self.compute(batches.laid_out(numbers)) for numbers in batches.ranks.share(order)]
        for numbers, computed in zip(order, batches.ranks.joined(own), strict=True):
            said[batches.rows(numbers)] = computed
        return said


def ranked(batch: Batch) -> RankingBatch:
    """The batch, which is one of rankings."""
    assert isinstance(batch, RankingBatch)
    return batch


def mean_over_prompts(pairs: Tensor, batch: RankingBatch) -> Tensor:
    """The sum over prompts of the means over each one's pairs."""
    return (pairs / batch.among).sum()
