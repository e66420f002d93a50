"""Span corruption (T5, arXiv 1910.10683)."""

from __future__ import annotations

from typing import ClassVar, Literal

from sepiola.data.batching import Noise
from sepiola.data.noise import SpanCorruption as SpanNoise
from sepiola.errors import DataError
from sepiola.specs.stage import ObjectiveSpec
from sepiola.text.pretraining import SENTINELS
from sepiola.training.objectives.pretraining import Pretraining, PretrainingSpec


class SpanCorruptionSpec(PretrainingSpec):
    """Spans of a text stand as sentinels, and an encoder-decoder writes what they stand for."""

    language: ClassVar[str] = "encoder-decoder"
    kind: Literal["span-corruption"]

    def tokens(self) -> list[str]:
        """The sentinels, as T5 orders them."""
        return SENTINELS[::-1]


class SpanCorruption(Pretraining):
    """The cross-entropy of the hidden spans."""

    spec: ClassVar[type[ObjectiveSpec]] = SpanCorruptionSpec

    def noise(self) -> Noise:
        """Raises DataError when the tokenizer has no sentinels."""
        ids = [i for i in map(self.setting.tokenizer.id_of, SENTINELS) if i is not None]
        if not ids:
            raise DataError(
                f"the tokenizer has no sentinel {SENTINELS[0]}, which the objective {self.stage.objective.kind} needs"
            )
        return SpanNoise(ids, self.language.tokens.end)
