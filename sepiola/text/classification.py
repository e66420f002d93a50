"""A classifier's questions as sequences, samples and batches: GPT-1's input transformations (Radford et al., 2018,
section 3.3).

| kind | sequences |
| --- | --- |
| classification | the text |
| entailment | premise, hypothesis |
| similarity | one text, the other; and the other way round |
| multiple choice | context, option: one for each option |

The text, the hypothesis and one of two similar texts are the question's `text`; the premise and the other text its
`hint`. A context is hint and text, as the paper joins document and question. A sequence is `<start> text <extract>` or
`<start> text <delimiter> text <extract>`. In a batch sequences are rows like any others, padded or packed; the batch
says where each of them ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, chain
from typing import cast

import numpy as np
import torch
from torch import Tensor

from sepiola.data.batching import IGNORED, Batch, Collator, Noise, Row, Sample
from sepiola.data.cutting import Ids, compact, cut_middle
from sepiola.data.example import Example, Question
from sepiola.errors import DataError
from sepiola.specs.classifier import ClassifierKind, ClassifierSpec, ClassifierTokens
from sepiola.specs.model import SpecialTokens
from sepiola.text.tokenizer import Tokenizer

Texts = tuple[Ids, ...]


def sequences(example: Example, kind: ClassifierKind) -> list[tuple[str, ...]]:
    """The texts of each sequence. Raises DataError when the example lacks what its kind reads."""
    question = _question(example, kind)
    whole = "\n".join(part for part in (question.hint, question.text) if part)
    if kind == "multiple-choice":
        if not question.choices:
            raise DataError(f"{example.id}: multiple choice needs the question's options, and it has none")
        return [(whole, choice) for choice in question.choices]
    if kind == "classification":
        return [(whole,)]
    if not question.hint:
        missing = "premise" if kind == "entailment" else "second text"
        raise DataError(f"{example.id}: {kind} reads two texts; give the {missing} as the question's hint")
    pair = (question.hint, question.text)
    return [pair] if kind == "entailment" else [pair, pair[::-1]]


def labels_of(examples: Sequence[Example], kind: ClassifierKind) -> tuple[str, ...]:
    """The classes of the examples: the options that all their questions share; none for multiple choice.

    Raises DataError when questions have options of their own, or none.
    """
    if kind == "multiple-choice":
        return ()
    if not examples:
        raise DataError(f"{kind} tells apart what its examples' options say; there are no examples")
    labels = _question(examples[0], kind).choices
    for example in examples:
        _check_labels(example, kind, labels)
    return labels


def classification_samples(
    examples: Sequence[Example], tokenizer: Tokenizer, classifier: ClassifierSpec
) -> list[ClassificationSample]:
    """The examples as samples. Raises DataError when one lacks what its kind reads, or has other labels."""
    kind = classifier.kind
    if kind == "reward":
        raise DataError("a reward model answers no questions: it scores texts and conversations, by score()")
    samples = []
    for example in examples:
        question = _question(example, kind)
        if classifier.labels and question.choices:
            _check_labels(example, kind, classifier.labels)
        encoded = [tuple(map(tuple, tokenizer.encode_batch(texts))) for texts in sequences(example, kind)]
        if classifier.tokens is None and not encoded[0][0]:
            raise DataError(f"{example.id}: the text is empty, and this model's sequences have no other tokens")
        answer = IGNORED if question.answer is None else question.answer
        samples.append(ClassificationSample.of(example.id, encoded, answer))
    return samples


def _check_labels(example: Example, kind: ClassifierKind, labels: tuple[str, ...]) -> None:
    choices = _question(example, kind).choices
    if len(choices) < 2 or choices != labels:
        raise DataError(
            f"{example.id}: {kind} tells one set of labels apart ({', '.join(labels) or 'none'}), and this question's "
            f"options are {', '.join(choices) or 'none'}; for options of each question's own use multiple-choice"
        )


def _question(example: Example, kind: ClassifierKind) -> Question:
    if example.question is None:
        raise DataError(f"{example.id}: {kind} needs the question's parts, and this example has messages only")
    return example.question


@dataclass(frozen=True)
class ClassificationSample(Sample):
    """One example of a classifier: `sequences`, each the token ids of its texts. `target` is the answer's number alone.

    `source` is the ids of all texts, one after the other.
    """

    sequences: tuple[Texts, ...] = ()

    @classmethod
    def of(cls, identity: str, sequences: Sequence[Texts], answer: int = IGNORED) -> ClassificationSample:
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

    def cut(self, source_tokens: int, target_tokens: int) -> ClassificationSample:
        """The sample with no sequence longer than `source_tokens`, special tokens included.

        The longest text of a sequence gives way first, and loses its middle.
        """
        if self.positions <= source_tokens:
            return self
        return ClassificationSample.of(
            self.id, [_fit(texts, source_tokens) for texts in self.sequences], int(self.target[0])
        )

    def compact(self) -> ClassificationSample:
        """The sample with its ids, those of its sequences too, as arrays."""
        sequences = tuple(tuple(map(compact, texts)) for texts in self.sequences)
        return replace(self, source=compact(self.source), target=compact(self.target), sequences=sequences)


def _fit(texts: Texts, tokens: int) -> Texts:
    lengths = [len(text) for text in texts]
    while sum(lengths) > max(0, tokens - len(texts) - 1):
        lengths[lengths.index(max(lengths))] -= 1
    return tuple(cut_middle(text, length) for text, length in zip(texts, lengths, strict=True))


def with_special(texts: Texts, tokens: ClassifierTokens | None) -> list[int]:
    """A sequence as the model reads it; without special tokens it is its text as it is."""
    if tokens is None:
        return [token for text in texts for token in text]
    between = [token for text in texts[1:] for token in (tokens.delimiter, *text)]
    return [tokens.start, *texts[0], *between, tokens.extract]


@dataclass(frozen=True)
class Hiding:
    """Hides a `share` of the tokens of a sample's texts, each by itself, behind the mask, anew each time."""

    mask: int
    share: float

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        assert isinstance(sample, ClassificationSample)
        hidden = [tuple(self._text(text, generator) for text in texts) for texts in sample.sequences]
        return ClassificationSample.of(sample.id, hidden, int(sample.target[0]))

    def _text(self, text: Ids, generator: np.random.Generator) -> Ids:
        ids = np.asarray(text, dtype=np.int64)
        return tuple(np.where(generator.random(len(ids)) < self.share, self.mask, ids).tolist())


@dataclass(frozen=True)
class ClassificationBatch(Batch):
    """A batch of a classifier: its rows are sequences, and `labels` the token that follows each (language modelling).

    `ends` `(examples, sequences)` is where each sequence's last token stands in the flattened rows, -1 where an
    example has fewer, and `lengths` how many tokens each has. `answers` `(examples,)`, -100 where not known. `counts`,
    of the shape of `labels`, is at each token how many labelled ones its example has. `labelled` counts examples.
    """

    ends: Tensor
    lengths: Tensor
    answers: Tensor
    counts: Tensor


class ClassificationCollator(Collator):
    """Lays a classifier's samples out as a batch; packed rows have room for `source_tokens`.

    `noise` changes each sample before.
    """

    def __init__(
        self,
        special: SpecialTokens,
        tokens: ClassifierTokens | None,
        *,
        causal: bool = True,
        packed: bool = False,
        source_tokens: int = 512,
        noise: Noise | None = None,
    ) -> None:
        super().__init__(
            special,
            kind="decoder",
            causal=causal,
            packed=packed,
            source_tokens=source_tokens,
            target_tokens=0,
            noise=noise,
        )
        self.tokens = tokens

    def __call__(self, samples: Sequence[Sample | Row]) -> ClassificationBatch:
        """The batch of some `ClassificationSample`s."""
        examples = cast(Sequence[ClassificationSample], [s for sample in samples for s in self._noised(sample.parts)])
        groups = [[with_special(texts, self.tokens) for texts in sample.sequences] for sample in examples]
        owners = [(example, place) for example, group in enumerate(groups) for place in range(len(group))]
        # Nothing is predicted after a sequence's last token, so a sequence of n tokens is a sample of length n + 1.
        parts = [Sample(str(i), ids[:1], [*ids[1:], IGNORED]) for i, ids in enumerate(chain.from_iterable(groups))]
        rows = self._pack(parts) if self.packed else [[part] for part in parts]
        batch = self.lay_out(rows)
        predicted = [sum(len(ids) - 1 for ids in group) for group in groups]
        counts = [[[predicted[owners[int(s.id)][0]]] * (s.length - 1) for s in row] for row in rows]
        ends = torch.full((len(groups), max(map(len, groups))), -1)
        lengths = torch.zeros_like(ends)
        for number, row in enumerate(rows):
            for part, end in zip(row, accumulate(part.length - 1 for part in row), strict=True):
                ends[owners[int(part.id)]] = number * batch.target.shape[1] + end - 1
                lengths[owners[int(part.id)]] = part.length - 1
        values = {f.name: getattr(batch, f.name) for f in fields(batch)} | {
            "ids": tuple(sample.id for sample in examples),
            "tokens": sum(len(ids) for group in groups for ids in group),
            "labelled": len(samples),
        }
        answers = torch.tensor([int(sample.target[0]) for sample in examples])
        counted = self._lay(counts, 0)[0]
        return ClassificationBatch(**values, ends=ends, lengths=lengths, answers=answers, counts=counted)
