"""An engine that keeps what another one writes, but where it has something new to say.

A network that has learned more tokens than it once knew answers old prompts a little differently. So the one from
before, whose vocabulary is shorter, is kept beside it, and a reply without any of the new tokens is written anew by
that: to what has no use for them the replies stay as they were, token for token, and there are at most two for a
prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sepiola.calling.constraints import Grammar
from sepiola.errors import SepiolaError
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.row_decoding import RowEnd
from sepiola.generation.sampling import Sampling
from sepiola.runtime.executor import Executor


def check_alone(kept: object, what: str) -> None:
    """Raises SepiolaError where a model writes together with one that is kept: `what` holds one alone."""
    if kept is not None:
        raise SepiolaError(
            f"{what} holds one model, and this one writes together with what it was before functions were added: save "
            "that (sepiola.load(…).kept), or train one on all functions (sepiola act train)"
        )


class KeepingEngine(Engine):
    """Generates by `executor`, and by the engine that is `kept` where none of the tokens that only `executor` knows
    was written. The tokens of both are the same as far as those of `kept` go. What scores, and draws with
    probabilities (`sample`), is `executor` alone.
    """

    rewrites = True

    def __init__(self, executor: Executor, kept: Engine, *, ends: frozenset[int] | None = None) -> None:
        super().__init__(executor, ends=ends)
        self.kept = kept

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        samples: int = 1,
        stop: Callable[[], RowEnd] | None = None,
        grammar: Grammar | Sequence[Grammar] | None = None,
        on_done: Callable[[int], None] | None = None,
        seeds: Sequence[Sequence[int]] | None = None,
    ) -> list[list[list[int]]]:
        """As `Engine.generate`. A prompt that itself holds a new token is answered by `executor` alone."""
        write = partial(super().generate, max_tokens=max_tokens, sampling=sampling, samples=samples, stop=stop)
        keep = partial(self.kept.generate, max_tokens=max_tokens, sampling=sampling, samples=samples, stop=stop)
        found = write(prompts, grammar=grammar, on_done=on_done, seeds=seeds)
        again = [
            row
            for row, (prompt, replies) in enumerate(zip(prompts, found, strict=True))
            if self._known(prompt.tokens) and any(map(self._known, replies))
        ]
        if again:
            own = grammar if grammar is None or isinstance(grammar, Grammar) else [grammar[row] for row in again]
            drawn = None if seeds is None else [seeds[row] for row in again]
            before = keep([prompts[row] for row in again], grammar=own, seeds=drawn)
            for row, replies in zip(again, before, strict=True):
                pairs = zip(found[row], replies, strict=True)
                found[row] = [old if self._known(new) else new for new, old in pairs]
        return found

    def _known(self, tokens: Sequence[int]) -> bool:
        """Whether the engine that is kept knows all of the tokens."""
        return max(tokens, default=0) < self.kept.spec.vocabulary
