"""Denoising (BART, arXiv 1910.13461): sentences in another order, and spans as one mask."""

from __future__ import annotations

from typing import ClassVar, Literal

from sepiola.data.batching import Noise
from sepiola.data.noise import Denoising as TextNoise
from sepiola.specs.stage import ObjectiveSpec
from sepiola.text.pretraining import MASKS, closing_tokens, mask_token
from sepiola.training.objectives.pretraining import Pretraining, PretrainingSpec


class DenoisingSpec(PretrainingSpec):
    """An encoder-decoder writes the text as it was."""

    language: ClassVar[str] = "encoder-decoder"
    kind: Literal["denoising"]

    def tokens(self) -> list[str]:
        """The mask."""
        return [MASKS[0]]


class Denoising(Pretraining):
    """The cross-entropy of the whole text."""

    spec: ClassVar[type[ObjectiveSpec]] = DenoisingSpec

    def noise(self) -> Noise:
        """Raises DataError when the tokenizer has no mask."""
        tokenizer = self.setting.tokenizer
        mask = mask_token(tokenizer, self.stage.objective.kind)
        return TextNoise(mask, self.language.tokens.end, closing_tokens(tokenizer))
