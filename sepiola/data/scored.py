"""Replies laid out to be scored: a row is read to its last token, the end token where the reply has one."""

from __future__ import annotations

from typing import Any

from sepiola.data.batching import IGNORED, Collator, Sample
from sepiola.specs.model import SpecialTokens


class ScoredCollator(Collator):
    """Lays prompts and replies out whole. The one label of a row stands at its last token, where it is scored.

    A decoder reads prompt and reply in one row, and so does an encoder; an encoder-decoder reads the reply in its decoder.
    """

    def __init__(self, tokens: SpecialTokens, *, kind: str = "encoder-decoder", **more: Any) -> None:
        if kind == "encoder":
            kind, more = "decoder", {**more, "causal": False}
        super().__init__(tokens, kind=kind, **more)

    def _written(self, sample: Sample) -> tuple[list[int], list[int]]:
        source = [self.special.start] if self.kind == "encoder-decoder" else list(sample.source)
        read = [*source, *sample.target]
        return read, [*[IGNORED] * (len(read) - 1), read[-1]]
