"""Few-shot: solved examples stand before each question, images and text interleaved (Flamingo, arXiv 2204.14198).

Which they are is drawn at random, or retrieved by the frozen vision encoder (RICES, Yang et al., arXiv 2109.05014):
those whose picture is most like the question's, the most similar last.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.generation.image_features import ImageEncoder
from sepiola.reasoning.strategies import Direct

Demonstrations = Mapping[str, Sequence[Example]]


def questions_of(examples: Sequence[Example]) -> list[Example]:
    """The examples that are asked: of each episode the last, and all that stand in none."""
    last = {e.metadata.get("episode", e.id): e for e in examples}
    return list(last.values())


def demonstrations(
    questions: Sequence[Example],
    pool: Sequence[Example],
    shots: int,
    *,
    seed: int = 0,
    image_encoder: ImageEncoder | None = None,
) -> dict[str, list[Example]]:
    """For each question, by its id, `shots` examples of its own episode, or of the whole pool where it has none.

    At random, those of fewer shots among those of more; with `image_encoder`, the nearest by the vision encoder's
    features. Raises DataError when the pool is too small.
    """
    groups: dict[str | None, list[Example]] = {}
    for example in pool:
        groups.setdefault(example.metadata.get("episode"), []).append(example)
    index = _ImageIndex(image_encoder) if image_encoder is not None and shots else None
    chosen = {}
    for question in questions:
        others = [e for e in groups.get(question.metadata.get("episode"), []) if e.id != question.id]
        if len(others) < shots:
            raise DataError(f"{question.id}: {shots} demonstrations asked for, and {len(others)} to choose from")
        if index is None:
            order = random.Random(f"{seed} {question.id}").sample(others, len(others))
            chosen[question.id] = order[:shots]
        else:
            chosen[question.id] = index.nearest(question, others, shots)
    return chosen


def after(direct: Direct, demonstrations: Demonstrations, *, exchanged: bool = False, seed: int = 0) -> Direct:
    """The strategy with these demonstrations before each question, laid out as the questions are.

    With `exchanged` their answers are drawn anew among themselves: the same words, and no longer true.
    """
    rows = {name: [direct.format.apply(e) for e in row] for name, row in demonstrations.items()}
    if exchanged:
        rows = {name: _exchanged(row, random.Random(f"{seed} {name}")) for name, row in rows.items()}
    return Direct(direct.generator.showing(rows), direct.format.name, score=direct.score)


def _exchanged(row: Sequence[Example], rng: random.Random) -> list[Example]:
    targets = [e.target for e in row]
    rng.shuffle(targets)
    return [dataclasses.replace(e, target=target) for e, target in zip(row, targets, strict=True)]


class _ImageIndex:
    """The frozen vision encoder's features of pictures, averaged over patches and of unit length; each is looked at
    once.
    """

    def __init__(self, image_encoder: ImageEncoder) -> None:
        self.image_encoder = image_encoder
        self.seen: dict[str, Tensor] = {}

    def nearest(self, question: Example, others: Sequence[Example], count: int) -> list[Example]:
        """The `count` examples most like the question, the most similar last."""
        likeness = torch.stack([self._of(e) for e in others]) @ self._of(question)
        order = likeness.argsort(stable=True).tolist()
        return [others[i] for i in order[len(order) - count :]]

    def _of(self, example: Example) -> Tensor:
        if not example.images:
            raise DataError(f"{example.id}: RICES compares pictures, and this example has none; choose at random")
        image = example.images[0]
        if image.digest not in self.seen:
            mean = self.image_encoder([image]).float().flatten(0, -2).mean(0)
            self.seen[image.digest] = mean / mean.norm()
        return self.seen[image.digest]
