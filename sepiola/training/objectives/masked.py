"""Masked language modelling (BERT, arXiv 1810.04805)."""

from __future__ import annotations

from typing import ClassVar, Literal

from sepiola.data.batching import Noise
from sepiola.data.noise import Masking
from sepiola.specs.stage import ObjectiveSpec
from sepiola.text.pretraining import MASKS, mask_token
from sepiola.training.objectives.pretraining import Pretraining, PretrainingSpec


class MaskedSpec(PretrainingSpec):
    """Some tokens of a text are masked, and an encoder tells them."""

    language: ClassVar[str] = "encoder"
    kind: Literal["masked"]

    def tokens(self) -> list[str]:
        """The mask."""
        return [MASKS[0]]


class Masked(Pretraining):
    """The cross-entropy of the masked tokens."""

    spec: ClassVar[type[ObjectiveSpec]] = MaskedSpec

    def noise(self) -> Noise:
        """Raises DataError when the tokenizer has no mask."""
        tokenizer, tokens = self.setting.tokenizer, self.language.tokens
        kept = frozenset((tokens.pad, tokens.start, tokens.end))
        return Masking(mask_token(tokenizer, self.stage.objective.kind), tokenizer.vocabulary, kept)
