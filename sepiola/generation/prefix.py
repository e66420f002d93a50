"""What many prompts begin with, read once: the functions that are described before every request.

A prompt that begins so goes on from the keys and values that are kept. It is used alone, in one batch of one row at a
time; when the next prompt comes, what the last one added is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sepiola.errors import SepiolaError
from sepiola.runtime.executor import Decoding, Executor

ROOM = 2**16
"""Tokens that may follow a prefix at most; memory is taken as they come."""


class Prefix:
    """The first `tokens` of prompts, read by a decoder.

    Reading a text in two parts rounds otherwise than in one, as batches do. Raises SepiolaError for an encoder-decoder,
    for positions that depend on the whole text's length, and for fewer than two tokens.
    """

    @torch.inference_mode()
    def __init__(self, executor: Executor, tokens: Sequence[int]) -> None:
        positions = executor.spec.positions
        if executor.spec.kind != "decoder" or positions.border is not None:
            raise SepiolaError("a prefix is kept by decoders alone, whose positions do not depend on what follows")
        if len(tokens) < 2:
            raise SepiolaError(f"the prefix has {len(tokens)} tokens; expected at least 2")
        self.tokens = tuple(tokens)
        room = ROOM if positions.kind != "learned" or positions.length is None else positions.length - len(tokens)
        self.state = executor.begin(torch.tensor([self.tokens], device=executor.device), room, attention_mask=None)
        self._length, self._device = self.state.length, executor.device

    def fits(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt begins with it."""
        return tuple(prompt[: len(self.tokens)]) == self.tokens

    def read(self, prompt: Sequence[int]) -> Decoding:
        """Reads a prompt that begins with it, but for the last token, and forgets the one before."""
        self.state.rewind(self.state.length - self._length)
        rest = list(prompt[len(self.tokens) - 1 : -1])
        if rest:
            self.state.extend(torch.tensor([rest], device=self._device))
        return self.state
