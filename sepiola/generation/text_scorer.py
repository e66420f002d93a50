"""Plain text over the engine: how likely a text is after another, and what the model writes until a stop string.

This is what language models are measured with when they are prompted (GPT-3, arXiv 2005.14165). Texts are cut into
tokens as lm-eval does it (Gao et al., EleutherAI's lm-evaluation-harness): for a decoder, context and continuation are
encoded together and split after as many tokens as the context has alone; spaces at the context's end go to the
continuation.

A conversation (`sepiola.generation.chat.Chat.text`) is read like the text that its template makes of it.

The first token. A text begins with the start token when the tokenizer itself puts one there (the post-processor of its
`tokenizer.json`, as in LLaMA and Gemma), and with its own first token when it does not (GPT-2, Qwen, and what sepiola
trains); an empty text is then the model's start token. An encoder's text ends with the end token, and an empty one is
that alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from sepiola.errors import DataError, SepiolaError
from sepiola.generation.chat import Chat
from sepiola.generation.engine import LOGITS, Engine, Prompt, Score
from sepiola.generation.sampling import Sampling
from sepiola.generation.stopping import Stop
from sepiola.text.guard import GuardedText
from sepiola.text.tokenizer import Tokenizer

DEFAULT_LENGTH = 2048
"""Tokens in a row where the spec names no number of positions; lm-eval's default too."""

OnDone = Callable[[int], None] | None
Context = str | GuardedText
"""What is read before a continuation or a reply."""


class TextScorer:
    """One model with its tokenizer, for plain text.

    `length` is how many tokens the model reads in a row: as many as its spec has positions, or what is asked for. A
    longer context loses its beginning, and `cut` counts how many did. `prefix` is what a decoder reads an empty text
    as, by default the spec's start token. Texts are written by `sampling` where none is asked, and end at any of
    `stops` too. `chat` lays out the conversations of a model that is asked in its template; None for another.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        *,
        length: int | None = None,
        prefix: int | None = None,
        sampling: Sampling | None = None,
        stops: Sequence[str] = (),
        chat: Chat | None = None,
    ) -> None:
        positions = engine.spec.positions
        most = positions.length if positions.kind == "learned" else None  # others have no table that ends
        if length is not None and (length < 2 or (most is not None and length > most)):
            raise SepiolaError(f"length: got {length} tokens, expected 2 to {most or 'any number'}")
        self.engine = engine
        self.tokenizer = tokenizer
        self.length = length or positions.length or DEFAULT_LENGTH
        self.prefix = engine.tokens.start if prefix is None else prefix
        self.opening = tokenizer.opening()
        self.sampling = sampling
        self.stops = tuple(stops)
        self.chat = chat
        self.cut = 0

    def encode(self, text: Context) -> list[int]:
        """Token ids of a text as the model reads it from the start."""
        return self._read(text) if text else self._empty

    def encode_pair(self, context: Context, continuation: str) -> tuple[list[int], list[int]]:
        """Token ids of a context and of what follows it. Raises DataError for an empty continuation."""
        bare = context.rstrip()
        spaces = context[len(bare) :] if isinstance(context, str) else context.ending(len(bare))
        continuation = spaces + continuation
        before = self._read(bare) if bare else self._empty
        after: list[int] = []
        if bare and self.engine.causal:
            after = self._read(bare, continuation)[len(before) :]
        # Where the two melt into one token, so that nothing is left, the continuation is encoded alone.
        after = after or self.tokenizer.encode(continuation)
        if not bare and after[:1] == before:
            after = after[1:]  # the start token is written out
        if not after:
            raise DataError(f"the continuation {continuation!r} has no token; it must not be empty")
        return before, after

    def score(self, pairs: Sequence[tuple[Context, str]], on_done: OnDone = None) -> list[Score]:
        """How likely each continuation is after its context, `(context, continuation)`; no end token is asked for.

        Raises DataError for a continuation that is empty or longer than the model reads.
        """
        return self.score_tokens([self.encode_pair(*pair) for pair in pairs], on_done)

    def score_tokens(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], on_done: OnDone = None) -> list[Score]:
        """The same for token ids. Continuations of equal contexts share the context's work."""
        options: dict[tuple[int, ...], list[Sequence[int]]] = {}
        where: list[tuple[tuple[int, ...], int]] = []
        for context, continuation in pairs:
            if not 0 < len(continuation) <= self.length:
                raise DataError(f"a continuation of {len(continuation)} tokens; the model reads 1 to {self.length}")
            # A decoder never reads the last token, which is only predicted.
            room = self.length + 1 - len(continuation) if self.engine.causal else self.length
            kept = tuple(self._keep(context, room))
            options.setdefault(kept, []).append(continuation)
            where.append((kept, len(options[kept]) - 1))
        scored = self.engine.score([Prompt(c) for c in options], list(options.values()), on_done)
        scores = dict(zip(options, scored, strict=True))
        return [scores[context][place] for context, place in where]

    @torch.inference_mode()
    def predictions(self, context: Sequence[int], continuation: Sequence[int]) -> Iterator[Tensor]:
        """Log-probabilities `(places, vocabulary)`, in float32, of what follows at each place of a continuation, some
        places at a time. For a decoder, whose context has a token at least.
        """
        executor, border = self.engine.executor, self.engine.spec.positions.border
        tokens = torch.tensor([[*context, *continuation[:-1]]], device=self.engine.device)
        ahead = {} if border is None else {"ahead": torch.tensor([tokens.shape[1] - 1], device=self.engine.device)}
        state = executor.begin(tokens[:, :1], tokens.shape[1], attention_mask=None, **ahead)
        states = state.extend(tokens)[0, len(context) - 1 :]
        for some in states.split(max(1, LOGITS // self.engine.spec.vocabulary)):
            yield executor.logits(some).float().log_softmax(-1)

    def rolling(self, texts: Sequence[str]) -> list[float]:
        """The log-likelihood of each whole text, however long: every token is predicted once, in windows of `length`.

        The first is conditioned on the start token (or on what the tokenizer opens a text with); the last window is
        filled up with tokens before it. An empty text has log-likelihood 0.
        """
        pairs, owners = [], []
        for number, text in enumerate(texts):
            for pair in windows(self._read(text), self._empty[-1], self.length):
                pairs.append(pair)
                owners.append(number)
        totals = [0.0] * len(texts)
        for owner, score in zip(owners, self.score_tokens(pairs), strict=True):
            totals[owner] += score.log_likelihood
        return totals

    def generate(
        self,
        prompts: Sequence[Context],
        *,
        max_tokens: int,
        stops: Sequence[str] = (),
        sampling: Sampling | None = None,
        on_done: OnDone = None,
    ) -> list[str]:
        """What the model writes after each prompt, up to its end token or the first of the `stops`, which is left out.

        After a conversation the end of the turn ends it too.
        Raises SepiolaError when `max_tokens` leaves a decoder no room for the prompt.
        """
        room = self.length - max_tokens if self.engine.causal else self.length
        if room < 1:
            raise SepiolaError(
                f"{max_tokens} new tokens leave no room for a prompt: the model reads {self.length}; ask for fewer"
            )
        turns = self.chat is not None and any(isinstance(prompt, GuardedText) for prompt in prompts)
        ends = self.chat.ends if self.chat is not None and turns else frozenset[int]()
        stop = Stop(self.tokenizer, strings=(*self.stops, *stops), ends=ends)
        sampling = sampling or self.sampling
        read = [Prompt(self._keep(self.encode(prompt), room)) for prompt in prompts]
        written = self.engine.generate(read, max_tokens=max_tokens, sampling=sampling, stop=stop, on_done=on_done)
        return [stop.text(ids) for (ids,) in written]

    @property
    def _empty(self) -> list[int]:
        """What an empty text is read as."""
        return (self.opening or [self.prefix]) if self.engine.causal else [self.engine.tokens.end]

    def _read(self, text: Context, after: str = "") -> list[int]:
        ids = self.tokenizer.encode(text + after) if isinstance(text, str) else text.encode(after)
        # A chat template may have written the start token out; it is not put there twice.
        opened = ids[: len(self.opening)] == self.opening
        closing = [] if self.engine.causal else [self.engine.tokens.end]
        return [*([] if opened else self.opening), *ids, *closing]

    def _keep(self, tokens: Sequence[int], room: int) -> Sequence[int]:
        """The last `room` tokens."""
        self.cut += len(tokens) > room
        return tokens[max(0, len(tokens) - room) :]


def windows(
    tokens: Sequence[int], prefix: int, length: int, fresh: int | None = None
) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Contexts and continuations in which every token is predicted once, and a decoder reads at most `length`.

    Each window predicts `fresh` tokens after those that it shares with the last one; by default it shares none.
    """
    whole, step = [prefix, *tokens], fresh or length
    cut: list[tuple[Sequence[int], Sequence[int]]] = []
    for begin in range(1, len(whole), step):
        end = min(begin + step, len(whole))
        cut.append((whole[max(0, end - length - 1) : begin], whole[begin:end]))
    return cut
