"""Greedy drawing of a script: the script's next token is raised above all others, and everything else is as ever."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sepiola.generation.sampling import Sampling


@dataclass(frozen=True)
class Scripted(Sampling):
    """Greedy, after the script's next token was raised above all others."""

    script: tuple[int, ...] = ()
    plain = False
    reads_prompt = False

    def process(
        self, logits: Tensor, tokens: Tensor, *, prompt: int = 0, ends: Tensor | None = None, last: bool = False
    ) -> Tensor:
        logits, place = logits.float().clone(), tokens.shape[1] - prompt
        logits[:, self.script[place]] = logits.max() + 1
        return logits
