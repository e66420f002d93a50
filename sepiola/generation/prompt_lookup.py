"""Prompt-lookup decoding: where the last tokens of a text stood before, what followed there is guessed to follow again.

One forward pass reads a guess with the token before it, and every token is then drawn as it would have been without: a
guess changes nothing but the time (Saxena 2023, `prompt_lookup_num_tokens` in `transformers`; speculative decoding,
arXiv 2211.17192). It pays where a text repeats itself or its prompt: code, quotes, summaries, answers from a document.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sepiola.calling.token_lookup import TokenLookup
from sepiola.generation.sampling import Sampling
from sepiola.runtime.executor import Decoding, Executor
from sepiola.specs.model import TransformerSpec


class LookupDecoding:
    """Continues one row, whose next tokens are guessed.

    It ends before the first of the tokens `ends`, or with the one of which `stop` says so.
    """

    def __init__(
        self, executor: Executor, sampling: Sampling, ends: Tensor, stop: Callable[[int], bool] | None = None
    ) -> None:
        self.executor = executor
        self.sampling = sampling
        self.ends = ends
        self.stop = stop
        self.passes = 0

    @staticmethod
    def serves(spec: TransformerSpec, sampling: Sampling, rows: int) -> bool:
        """Whether guesses are asked for, of one row; positions that stretch with the text's length forbid them."""
        return sampling.prompt_lookup_num_tokens > 0 and rows == 1 and spec.positions.border is None

    def run(
        self,
        state: Decoding,
        prompt: Sequence[int],
        first: Tensor,
        read: Tensor,
        limit: int,
        generator: torch.Generator,
    ) -> list[int]:
        """At most `limit` tokens after `first` `(1, 1)`; `read` `(1, tokens)` is what `sampling` sees of the prompt."""
        lookup, ends = TokenLookup(prompt, self.sampling.prompt_lookup_num_tokens), set(self.ends.tolist())
        written: list[int] = []
        last = int(first)
        while True:
            guess = lookup.guess(limit - len(written) - 1)
            states = state.extend(torch.tensor([[last, *guess]], device=first.device))[0]
            logits = self.executor.logits(states)
            self.passes += 1
            for right in range(len(guess) + 1):
                last = self._draw(logits[right : right + 1], read, written, limit, generator)
                if last in ends:
                    return written
                written.append(last)
                if len(written) == limit or (self.stop is not None and self.stop(last)):
                    return written
                lookup.add(last)
                if guess[right : right + 1] != [last]:
                    break
            lookup.judged(len(guess), right)
            state.rewind(len(guess) - right)

    def _draw(
        self, logits: Tensor, read: Tensor, written: Sequence[int], limit: int, generator: torch.Generator
    ) -> int:
        tokens = torch.cat((read, torch.tensor([written], dtype=torch.long, device=read.device)), dim=1)
        last = len(written) + 1 == limit
        return int(self.sampling.draw(logits, tokens, generator, prompt=read.shape[1], ends=self.ends, last=last))
