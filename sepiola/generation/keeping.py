"""An engine that keeps what another one writes, but where it has something new to say.

A network that has learned more tokens than it once knew answers old prompts a little differently. So the one from
before, whose vocabulary is shorter, is kept beside it, and a reply without any of the new tokens is written anew by
that: to what has no use for them the replies stay as they were, token for token, and there are at most two for a
prompt. So is a reply whose first new token was not likely enough: what the network is unsure of is mostly an old prompt
in words that it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from sepiola.calling.calls import SURE
from sepiola.calling.constraints import Grammar
from sepiola.errors import SepiolaError
from sepiola.generation.engine import Engine, Prompt, Score
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
    was written, or the first of them was less than `sure`. The tokens of both are the same as far as those of `kept`
    go. What scores, and draws with probabilities (`sample`), is `executor` alone.
    """

    rewrites = True

    def __init__(
        self, executor: Executor, kept: Engine, *, ends: frozenset[int] | None = None, sure: float = SURE
    ) -> None:
        super().__init__(executor, ends=ends)
        self.kept = kept
        self.sure = sure

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
        sure = iter(self._sure([(prompt, reply) for prompt, own in zip(prompts, found, strict=True) for reply in own]))
        stay = [
            [next(sure) or not self._known(prompt.tokens) for _ in found[row]] for row, prompt in enumerate(prompts)
        ]
        again = [row for row, replies in enumerate(stay) if not all(replies)]
        if again:
            own = grammar if grammar is None or isinstance(grammar, Grammar) else [grammar[row] for row in again]
            drawn = None if seeds is None else [seeds[row] for row in again]
            before = keep([prompts[row] for row in again], grammar=own, seeds=drawn)
            for row, replies in zip(again, before, strict=True):
                each = zip(found[row], replies, stay[row], strict=True)
                found[row] = [new if stays else old for new, old, stays in each]
        return found

    def _sure(self, written: Sequence[tuple[Prompt, list[int]]]) -> list[bool]:
        """Whether each reply to its prompt has a new token, the first of which was likely enough."""
        first = [next((at for at, token in enumerate(reply) if not self._known([token])), None) for _, reply in written]
        some = [(prompt, reply, at) for (prompt, reply), at in zip(written, first, strict=True) if at is not None]
        options = [[reply[:end] for end in (at, at + 1) if end] for _, reply, at in some]
        scored = iter(self.score([prompt for prompt, *_ in some], options) if some else [])
        return [at is not None and _last(next(scored)) >= self.sure for at in first]

    def _known(self, tokens: Sequence[int]) -> bool:
        """Whether the engine that is kept knows all of the tokens."""
        return max(tokens, default=0) < self.kept.spec.vocabulary


def _last(scores: Sequence[Score]) -> float:
    """How likely the last token of a text is: its score, behind that of the text before it, if there is any."""
    return math.exp(scores[-1].log_likelihood - sum(score.log_likelihood for score in scores[:-1]))
