"""Replies laid out to be scored: a row is read to its last token, the end token where the reply has one."""

from __future__ import annotations

from sepiola.data.batching import IGNORED, Collator, Sample


class ScoredCollator(Collator):
    """Lays prompts and replies out whole. The one label of a row stands at its last token, where it is scored.

    A decoder reads prompt and reply in one row, an encoder too; an encoder-decoder reads the reply in its decoder.
    """

    def _written(self, sample: Sample) -> tuple[list[int], list[int]]:
        source = [self.special.start] if self.kind == "encoder-decoder" else list(sample.source)
        read = [*source, *sample.target]
        return read, [*[IGNORED] * (len(read) - 1), read[-1]]
