"""Samples and batches of tasks: an example is one sequence or several, each of one text or two, and has one answer.

The sequences of GPT-1 (Radford et al., 2018, section 3.3): `<start> text <extract>`, and
`<start> text <delimiter> text <extract>`. In a batch they are rows like any others, padded or packed; the batch says
where each of them ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor

from sepiola.data.batching import IGNORED, Batch, Collator, Sample, cut_middle
from sepiola.specs.model import SpecialTokens, TaskTokens

Texts = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TaskSample(Sample):
    """One example of a task: `sequences`, each the token ids of its texts. `target` is the answer's number alone.

    `source` is the ids of all texts, one after the other.
    """

    sequences: tuple[Texts, ...] = ()

    @classmethod
    def of(cls, identity: str, sequences: Sequence[Texts], answer: int = IGNORED) -> TaskSample:
        """The sample of these sequences; an answer that is not known is -100."""
        flat = tuple(token for texts in sequences for text in texts for token in text)
        return cls(identity, flat, (answer,), sequences=tuple(sequences))

    @property
    def positions(self) -> int:
        """The most positions that a sequence takes, its special tokens included."""
        return max(sum(map(len, texts)) + len(texts) + 1 for texts in self.sequences)

    def positions_for(self, kind: str) -> int:
        """Those of the longest sequence."""
        return self.positions

    def cut(self, source_tokens: int, target_tokens: int) -> TaskSample:
        """The sample with no sequence longer than `source_tokens`, special tokens included.

        The longest text of a sequence gives way first, and loses its middle.
        """
        if self.positions <= source_tokens:
            return self
        return TaskSample.of(self.id, [_fit(texts, source_tokens) for texts in self.sequences], self.target[0])


def _fit(texts: Texts, tokens: int) -> Texts:
    lengths = [len(text) for text in texts]
    while sum(lengths) > max(0, tokens - len(texts) - 1):
        lengths[lengths.index(max(lengths))] -= 1
    return tuple(cut_middle(text, length) for text, length in zip(texts, lengths, strict=True))


def with_special(texts: Texts, tokens: TaskTokens | None) -> list[int]:
    """A sequence as the model reads it; without special tokens it is its text as it is."""
    if tokens is None:
        return [token for text in texts for token in text]
    between = [token for text in texts[1:] for token in (tokens.delimiter, *text)]
    return [tokens.start, *texts[0], *between, tokens.extract]


@dataclass(frozen=True)
class TaskBatch(Batch):
    """A batch of a task: its rows are sequences, and `labels` the token that follows each (language modelling).

    `ends` `(examples, sequences)` is where each sequence's last token stands in the flattened rows, -1 where an
    example has fewer. `answers` `(examples,)`, -100 where not known. `counts`, of the shape of `labels`, is at each
    token how many labelled ones its example has. `labelled` counts examples.
    """

    ends: Tensor
    answers: Tensor
    counts: Tensor


class TaskCollator(Collator):
    """Lays the samples of a task out as a batch; packed rows have room for `source_tokens`."""

    def __init__(
        self,
        special: SpecialTokens,
        tokens: TaskTokens | None,
        *,
        causal: bool = True,
        packed: bool = False,
        source_tokens: int = 512,
    ) -> None:
        super().__init__(
            special, kind="decoder", causal=causal, packed=packed, source_tokens=source_tokens, target_tokens=0
        )
        self.tokens = tokens

    def __call__(self, samples: Sequence[Any]) -> TaskBatch:
        """The batch of some `TaskSample`s."""
        groups = [[with_special(texts, self.tokens) for texts in sample.sequences] for sample in samples]
        owners = [(example, place) for example, group in enumerate(groups) for place in range(len(group))]
        # Nothing is predicted after a sequence's last token, so a sequence of n tokens is a sample of length n + 1.
        parts = [Sample(str(i), ids[:1], [*ids[1:], IGNORED]) for i, ids in enumerate(chain.from_iterable(groups))]
        rows = self._pack(parts) if self.packed else [[part] for part in parts]
        batch = self.lay_out(rows)
        predicted = [sum(len(ids) - 1 for ids in group) for group in groups]
        counts = [[[predicted[owners[int(s.id)][0]]] * (s.length - 1) for s in row] for row in rows]
        ends = torch.full((len(groups), max(map(len, groups))), -1)
        for number, row in enumerate(rows):
            for part, end in zip(row, accumulate(part.length - 1 for part in row), strict=True):
                ends[owners[int(part.id)]] = number * batch.target.shape[1] + end - 1
        values = {f.name: getattr(batch, f.name) for f in fields(batch)} | {
            "ids": tuple(sample.id for sample in samples),
            "tokens": sum(len(ids) for group in groups for ids in group),
            "labelled": len(samples),
        }
        answers = torch.tensor([sample.target[0] for sample in samples])
        return TaskBatch(**values, ends=ends, answers=answers, counts=self._lay(counts, 0)[0])
