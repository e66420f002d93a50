"""Pairs of a picture and a text, and the batches in which a dual encoder learns to tell them apart."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sepiola.data.batching import IGNORED, Batch, Collator, FeatureRows, Pixels, Sample
from sepiola.data.cutting import Ids
from sepiola.data.image import ImageRef
from sepiola.specs.model import SpecialTokens


@dataclass(frozen=True)
class Pair(Sample):
    """One picture and its text, whose token ids are `source`. Nothing is predicted of them."""

    @classmethod
    def of(cls, identity: str, text: Ids, image: ImageRef) -> Pair:
        """The pair of a text and an image."""
        return cls(identity, text, (IGNORED,), (image,))

    @property
    def length(self) -> int:
        """One pair: batches are drawn without regard to lengths, so that negatives are of every kind."""
        return 1


@dataclass(frozen=True)
class PairBatch(Batch):
    """A batch of pairs: texts in `target`, one picture each in `images`. `labelled` counts pairs.

    `together` `(pairs, pairs)` tells which picture goes with which text: its own, and that of a pair with the same text
    or the same picture.
    """

    together: Tensor


def lay_texts(texts: Sequence[Ids], tokens: SpecialTokens, length: int | None) -> tuple[Tensor, Tensor | None]:
    """Token ids `(texts, longest)` and their mask; with `length`, padded so far, and without a mask."""
    longest = length or max(map(len, texts))
    ids = torch.full((len(texts), longest), tokens.pad)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    mask = (torch.arange(longest) < torch.tensor([len(text) for text in texts])[:, None]).long()
    return ids, None if length is not None or bool(mask.all()) else mask


class PairCollator(Collator):
    """Lays pairs out as a batch; texts are padded to `length` where it is given (`lay_texts`)."""

    def __init__(
        self,
        tokens: SpecialTokens,
        *,
        length: int | None = None,
        features: FeatureRows | None = None,
        pixels: Pixels | None = None,
    ) -> None:
        super().__init__(tokens, kind="encoder", features=features, pixels=pixels)
        self.length = length

    def lay_out(self, rows: Sequence[Sequence[Sample]]) -> PairBatch:
        """The batch of some pairs, one a row."""
        pairs = [pair for row in rows for pair in row]
        target, mask = lay_texts([pair.source for pair in pairs], self.special, self.length)
        images, image_mask = self._images(rows)
        return PairBatch(
            ids=tuple(pair.id for pair in pairs),
            source=None,
            source_mask=None,
            target=target,
            target_mask=mask,
            labels=torch.full_like(target, IGNORED),
            images=images,
            image_mask=image_mask,
            image_sizes=None,
            instructions=None,
            tokens=sum(len(pair.source) for pair in pairs),
            labelled=len(pairs),
            together=_same([tuple(pair.source) for pair in pairs]) | _same([pair.images for pair in pairs]),
        )


def _same(items: Sequence[Hashable]) -> Tensor:
    numbers = {item: number for number, item in enumerate(items)}
    each = torch.tensor([numbers[item] for item in items])
    return each[:, None] == each
