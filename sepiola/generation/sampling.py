"""How the next token is drawn from logits: greedy or at random, with penalties, as `transformers`' `generate` does it.

Names, order and figures are those of its logits processors: first what changes the logits (repetition, presence and
frequency, n-grams, least lengths, forced tokens), then, where tokens are drawn, temperature, top-k (arXiv 1805.04833),
top-p (1904.09751) and min-p (2407.01082). Presence and frequency are OpenAI's and vLLM's: they count what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sepiola.errors import SepiolaError, shown
from sepiola.generation.row_draws import RowDraws
from sepiola.specs.generation import PENALTIES, GenerationSpec

LARGEST = 1e9  # temperature or penalty
LEAST_TEMPERATURE = 1e-5
"""Below it logits overflow; what is drawn at it is already the likeliest token."""


class _Bound(NamedTuple):
    kind: type
    fits: Callable[[Any], bool]
    expected: str


_NOT_NUMBERS = "the model's logits are not numbers (nan): its weights are damaged, or too large for its dtype"
_COUNT = _Bound(Integral, lambda value: value >= 0, "a whole number of at least 0")
_TOKENS = _Bound(
    Sequence,
    lambda value: all(isinstance(token, int) and token >= 0 for token in value),
    "a list of token ids",
)
_SHIFT = _Bound(Real, lambda value: -2 <= value <= 2, "-2 to 2 (0 changes nothing)")
_BOUNDS = {
    "temperature": _Bound(
        Real,
        lambda value: value == 0 or LEAST_TEMPERATURE <= value <= LARGEST,
        f"0 (greedy) or a number of at least {LEAST_TEMPERATURE:.5f}",
    ),
    "top_k": _COUNT._replace(expected="a whole number of at least 0 (0 keeps all tokens)"),
    "top_p": _Bound(Real, lambda value: 0 < value <= 1, "more than 0 and at most 1 (1 keeps all tokens)"),
    "min_p": _Bound(Real, lambda value: 0 <= value <= 1, "0 to 1 (0 keeps all tokens)"),
    "repetition_penalty": _Bound(Real, lambda value: 0 < value <= LARGEST, "more than 0 (1 changes nothing)"),
    "presence_penalty": _SHIFT,
    "frequency_penalty": _SHIFT,
    "no_repeat_ngram_size": _COUNT,
    "min_new_tokens": _COUNT,
    "prompt_lookup_num_tokens": _COUNT._replace(expected="a whole number of at least 0 (0 guesses nothing)"),
    "min_length": _COUNT,
    "suppress_tokens": _TOKENS,
    "begin_suppress_tokens": _TOKENS,
    "seed": _Bound(Integral, lambda value: -(2**63) <= value < 2**64, "a whole number of 64 bits"),
}


@dataclass(frozen=True)
class Sampling:
    """Temperature 0 is greedy. `top_k` 0, `top_p` 1 and `min_p` 0 keep all tokens.

    `repetition_penalty` (CTRL, arXiv 1909.05858) and `no_repeat_ngram_size` look at all that a decoder has read and
    written, and at what an encoder-decoder's decoder has. `min_length` counts the same, `min_new_tokens` what was
    written; no row ends before. `forced_bos_token_id` follows a lone first token (BART's start), and
    `forced_eos_token_id` is the last token where nothing else ends a row. `suppress_tokens` are never written, and
    `begin_suppress_tokens` not as the first token. `prompt_lookup_num_tokens` are guessed at most, where a lone row
    repeats what it has read (`sepiola.generation.prompt_lookup`): the same tokens come, in fewer passes.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    min_new_tokens: int = 0
    min_length: int = 0
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    suppress_tokens: Sequence[int] = ()
    begin_suppress_tokens: Sequence[int] = ()
    prompt_lookup_num_tokens: int = 0

    def __post_init__(self) -> None:
        for name, bound in _BOUNDS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, bound.kind) or not bound.fits(value):
                raise SepiolaError(f"{name}: got {value!r}, expected {bound.expected}")

    @classmethod
    def asked(cls, given: Sampling | None, generation: GenerationSpec) -> Sampling:
        """What is asked, or how the checkpoint writes. Raises SepiolaError for what is no Sampling."""
        if given is not None and not isinstance(given, Sampling):
            raise SepiolaError(f"sampling: got {shown(given)}; expected sepiola.Sampling(temperature=…, top_p=…)")
        return given or cls.of(generation)

    @classmethod
    def of(cls, generation: GenerationSpec) -> Sampling:
        """How a checkpoint writes where nothing is asked: greedily, with its own penalties, least lengths and forced
        tokens. As in `transformers`, `min_new_tokens` stands in for `min_length`.
        """
        given = {name: value for name in PENALTIES if (value := getattr(generation, name)) is not None}
        return cls(**(given | {"min_length": 0} if generation.min_new_tokens is not None else given))

    @cached_property
    def reads_prompt(self) -> bool:
        """Whether the tokens of the prompt count."""
        return (
            self.repetition_penalty != 1
            or self.no_repeat_ngram_size > 0
            or self.min_length > 0
            or self.forced_bos_token_id is not None
        )

    @cached_property
    def plain(self) -> bool:
        """Whether it is greedy and changes no logits."""
        penalties = (self.presence_penalty, self.frequency_penalty, self.min_new_tokens)
        suppressed = (*self.suppress_tokens, *self.begin_suppress_tokens)
        return self.temperature == 0 and not (
            self.reads_prompt or any(penalties) or suppressed or self.forced_eos_token_id is not None
        )

    def draw(
        self,
        logits: Tensor,
        tokens: Tensor,
        generator: torch.Generator | RowDraws,
        *,
        prompt: int = 0,
        ends: Tensor | None = None,
        last: bool = False,
    ) -> Tensor:
        """Next tokens `(batch,)`; the arguments are those of `process`.

        Raises SepiolaError where no token is left, and for logits that are not numbers.
        """
        if self.plain:
            return logits.max(-1).indices  # in bfloat16 a fifth of argmax's time
        return self.pick(self.process(logits, tokens, prompt=prompt, ends=ends, last=last), generator)

    def pick(self, logits: Tensor, generator: torch.Generator | RowDraws) -> Tensor:
        """Tokens `(batch,)` of processed logits, drawn by each row or for all. Raises SepiolaError as `draw`.

        A number a row is drawn and looked up in the cumulated probabilities: `torch.multinomial` draws one for every
        token of the vocabulary, which takes longer than the model's own head.
        """
        if self.temperature == 0:
            return logits.max(-1).indices
        if not isinstance(generator, torch.Generator):
            drawn = generator.pick(logits)  # the largest, and nan is larger than any number
            if bool(logits.gather(1, drawn[:, None]).isnan().any()):
                raise SepiolaError(_NOT_NUMBERS)
            return drawn
        cumulated = logits.softmax(-1).cumsum(-1)
        total = cumulated[:, -1:]
        if not bool(total.isfinite().all()):
            raise SepiolaError(_NOT_NUMBERS)
        drawn = total * torch.rand(total.shape, generator=generator, device=total.device)
        below = torch.nextafter(total, torch.zeros_like(total))  # what is drawn is rounded, perhaps to the total itself
        return torch.searchsorted(cumulated, drawn.minimum(below), right=True).squeeze(1)

    def process(
        self, logits: Tensor, tokens: Tensor, *, prompt: int = 0, ends: Tensor | None = None, last: bool = False
    ) -> Tensor:
        """Logits `(batch, vocabulary)` in float32 with all that changes them; what may not be drawn is -inf.

        `tokens` `(batch, tokens)` are what was read, `prompt` of them and padded on the left with the vocabulary's
        size, and then what was written. `ends` are the ids that end a row, and `last` says that no token follows.
        """
        logits, vocabulary = logits.float(), logits.shape[-1]
        written = tokens[:, prompt:]
        if self.repetition_penalty != 1:
            penalised = torch.where(logits < 0, logits * self.repetition_penalty, logits / self.repetition_penalty)
            logits = torch.where(_marked(tokens, vocabulary), penalised, logits)
        if self.frequency_penalty or self.presence_penalty:
            counts = torch.zeros_like(logits).scatter_add_(1, written, torch.ones_like(written, dtype=logits.dtype))
            logits = logits - self.frequency_penalty * counts - self.presence_penalty * (counts > 0)
        if self.no_repeat_ngram_size:
            logits = self._without_repeated(logits, tokens)
        logits = self._as_long(logits, tokens, written, ends)
        if self.forced_bos_token_id is not None:
            alone = (tokens < vocabulary).sum(1) == 1
            logits = torch.where(alone[:, None], _only(logits, self.forced_bos_token_id), logits)
        if self.forced_eos_token_id is not None and last:
            logits = _only(logits, self.forced_eos_token_id)
        logits = _without(logits, self.suppress_tokens)
        forced = self.forced_bos_token_id is not None and prompt == 1  # then the first token is that one
        if written.shape[1] == int(forced):
            logits = _without(logits, self.begin_suppress_tokens)
        return self._warp(logits) if self.temperature else logits

    def _without_repeated(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """Without the tokens that would end an n-gram which is there already."""
        size, vocabulary = self.no_repeat_ngram_size, logits.shape[-1]
        if tokens.shape[1] < size:
            return logits
        grams = tokens.unfold(1, size, 1)
        same = (grams[..., :-1] == tokens[:, None, tokens.shape[1] + 1 - size :]).all(-1)
        banned = _marked(torch.where(same, grams[..., -1], vocabulary), vocabulary)
        if bool(banned.all(1).any()):
            raise SepiolaError(
                f"no_repeat_ngram_size {size}: after {tokens.shape[1]} tokens none of {vocabulary} is left to follow; "
                "choose a larger size, or fewer tokens"
            )
        return logits.masked_fill(banned, -torch.inf)

    def _as_long(self, logits: Tensor, tokens: Tensor, written: Tensor, ends: Tensor | None) -> Tensor:
        """Without the ends of rows that are too short yet."""
        if ends is None or not (self.min_length or self.min_new_tokens):
            return logits
        short = (tokens < logits.shape[-1]).sum(1) < self.min_length
        if written.shape[1] < self.min_new_tokens:
            short = torch.ones_like(short)
        return torch.where(short[:, None], logits.index_fill(1, ends, -torch.inf), logits)

    def _warp(self, logits: Tensor) -> Tensor:
        """The distribution that tokens are drawn from."""
        logits = logits / self.temperature
        if self.top_k:
            kth = logits.topk(min(self.top_k, logits.shape[-1])).values[:, -1:]
            logits = logits.masked_fill(logits < kth, -torch.inf)
        if self.top_p < 1:
            logits = _nucleus(logits, self.top_p)
        if self.min_p:
            shares = logits.softmax(-1)
            logits = logits.masked_fill(shares < self.min_p * shares.amax(-1, keepdim=True), -torch.inf)
        return logits


def _nucleus(logits: Tensor, mass: float) -> Tensor:
    """Logits of the likeliest tokens that together have this mass (arXiv 1904.09751), and of ties with the last."""
    shares = logits.softmax(-1)
    ordered = _sorted(shares)
    tail = ordered.cumsum(-1) <= 1 - mass
    tail[:, -1] = False
    least = ordered.masked_fill(tail, torch.inf).amin(-1, keepdim=True)
    return logits.masked_fill(shares < least, -torch.inf)


def _sorted(numbers: Tensor) -> Tensor:
    """Rows in ascending order; on a CPU by NumPy, which sorts by vector instructions, in a thirtieth of the time."""
    return torch.from_numpy(np.sort(numbers.numpy())) if numbers.device.type == "cpu" else numbers.sort().values


def _marked(tokens: Tensor, vocabulary: int) -> Tensor:
    """Which tokens of the vocabulary `(batch, vocabulary)` are among a row's; the vocabulary's size is none."""
    marked = torch.zeros(len(tokens), vocabulary + 1, dtype=torch.bool, device=tokens.device)
    return marked.scatter_(1, tokens, True)[:, :vocabulary]


def _without(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """Logits of all tokens but these."""
    banned = [token for token in tokens if token < logits.shape[-1]]
    return logits.index_fill(1, torch.tensor(banned, device=logits.device), -torch.inf) if banned else logits


def _only(logits: Tensor, token: int) -> Tensor:
    """Logits of one token alone."""
    return torch.full_like(logits, -torch.inf).index_fill(1, torch.tensor([token], device=logits.device), 0.0)
