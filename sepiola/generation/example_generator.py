"""Text over the engine: examples in, texts or option likelihoods out."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sepiola.calling.constraints import Grammar
from sepiola.data.batching import Sample
from sepiola.data.cutting import cut_middle
from sepiola.data.example import Example, Message
from sepiola.errors import DataError
from sepiola.generation.chat import Chat, without_indent
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.image_features import ImageEncoder
from sepiola.generation.sampling import Sampling
from sepiola.generation.stopping import Ending, Stop
from sepiola.text.encoding import encode, placing, shown
from sepiola.text.layouts import Layout
from sepiola.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)


class Sampled(NamedTuple):
    """A text, how likely it was (natural logarithm), and of how many tokens, its end among them."""

    text: str
    log_probability: float
    tokens: int


class ExampleGenerator:
    """One model with its tokenizer. `image_encoder` turns an example's images into what the model takes; None is blind.

    Texts are written by `sampling` where none is asked, and end at any of `stops` too.

    `demonstrations` are solved examples that stand before an example, by its id. `qformer_tokenizer` is the tokenizer
    of an instructed bridge that has one of its own. Messages are laid out by `layout`, as a conversation by `chat`, or
    else one after the other behind `opening`, the tokens that begin a text.

    Prompts have at most `source_tokens`, without it what `context` leaves beside the reply: the first demonstrations
    are left out, then the middle is cut. `cut` holds the ids of the examples that lost something, which is logged once.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        image_encoder: ImageEncoder | None = None,
        *,
        source_tokens: int | None = None,
        target_tokens: int = 512,
        context: int | None = None,
        demonstrations: Mapping[str, Sequence[Example]] = MappingProxyType({}),
        qformer_tokenizer: Tokenizer | None = None,
        layout: Layout | None = None,
        chat: Chat | None = None,
        opening: Sequence[int] = (),
        sampling: Sampling | None = None,
        stops: Sequence[str] = (),
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.image_encoder = image_encoder
        self.source_tokens = source_tokens
        self.target_tokens = target_tokens
        self.context = context
        self.demonstrations = demonstrations
        self.qformer_tokenizer = qformer_tokenizer
        self.layout = layout
        self.chat = chat
        self.opening = tuple(opening)
        ends = chat.ends if chat is not None else frozenset()
        self.sampling = sampling
        own = (layout.stop,) if layout is not None and layout.stop else ()
        self.stops = (*own, *stops)
        self.stop = Stop(tokenizer, strings=self.stops, ends=ends)
        self.cut: set[str] = set()
        self.cuts = True

    def whole(self) -> ExampleGenerator:
        """The same, which raises DataError for a prompt that is too long, and cuts none."""
        generator = copy.copy(self)
        generator.cuts = False
        return generator

    def showing(self, demonstrations: Mapping[str, Sequence[Example]]) -> ExampleGenerator:
        """The same with other demonstrations."""
        generator = copy.copy(self)
        generator.demonstrations, generator.cut = demonstrations, set()
        return generator

    def write(
        self,
        examples: Sequence[Example],
        *,
        sampling: Sampling | None = None,
        samples: int = 1,
        grammar: Grammar | Sequence[Grammar] | None = None,
        special_tokens: bool = False,
        on_done: Callable[[int], None] | None = None,
    ) -> list[list[str]]:
        """For each example, `samples` texts that answer its messages; their special tokens stand in them where that is
        asked, and under a `grammar`.
        """
        prompts = self._prompts(examples)
        outputs = self.engine.generate(
            prompts,
            max_tokens=self._most(prompts),
            sampling=sampling or self.sampling,
            samples=samples,
            stop=self.stop,
            grammar=grammar,
            on_done=on_done,
        )
        if grammar is not None:
            each = [grammar] * len(outputs) if isinstance(grammar, Grammar) else grammar
            return [[one.text(ids) for ids in texts] for one, texts in zip(each, outputs, strict=True)]
        if special_tokens:
            return [[self.tokenizer.decode(ids, special_tokens=True) for ids in texts] for texts in outputs]
        return [[self.stop.text(ids).strip() for ids in texts] for texts in outputs]

    def write_one(self, example: Example, sampling: Sampling | None, ending: Ending) -> str:
        """One text that answers an example's messages, which ends before any stop string of `ending` too."""
        give = None if ending.on_text is None else without_indent(ending.on_text)
        strings, ends, whole = (*self.stops, *ending.strings), self.stop.ends, self.engine.rewrites
        stop = Stop(self.tokenizer, strings=strings, ends=ends, on_text=give, whole=whole)
        prompts = self._prompts([example])
        asked = sampling or self.sampling
        written = self.engine.generate(prompts, max_tokens=self._most(prompts), sampling=asked, stop=stop)[0][0]
        stop.close()
        return stop.text(written).strip()

    def sample(
        self, examples: Sequence[Example], seeds: Sequence[Sequence[int]], *, temperature: float, top_k: int
    ) -> list[list[Sampled]]:
        """For each example, a text that answers its messages by each of its seeds (`Engine.sample`)."""
        prompts = self._prompts(examples)
        sampling = dataclasses.replace(self.sampling or Sampling(), temperature=temperature, top_k=top_k)
        most = self._most(prompts)
        rows = self.engine.sample(prompts, seeds, max_tokens=most, sampling=sampling, stop=self.stop)
        return [[Sampled(self.stop.text(one.tokens).strip(), *one[1:]) for one in row] for row in rows]

    def write_or_cut(
        self, examples: Sequence[Example], *, on_done: Callable[[int], None] | None = None
    ) -> list[tuple[str, bool]]:
        """For each example the text that answers its messages, and whether the limit on tokens ended it."""
        prompts = self._prompts(examples)
        most = self._most(prompts)
        outputs = self.engine.generate(
            prompts, max_tokens=most, sampling=self.sampling, stop=self.stop, on_done=on_done
        )
        return [
            (self.stop.text(ids).strip(), len(ids) == self.engine.room(prompt, most))
            for (ids,), prompt in zip(outputs, prompts, strict=True)
        ]

    def probabilities(self, examples: Sequence[Example], options: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
        """For each example, how likely each of its options is as the whole answer, normalised to sum to 1."""
        ids = self._option_ids(examples, options)
        scored = self.engine.score(self._prompts(examples), ids)
        return [_softmax([s.log_likelihood for s in scores]) for scores in scored]

    def log_likelihoods(self, examples: Sequence[Example]) -> list[float]:
        """How likely each example's target, with its end, is after the messages (natural logarithm)."""
        ids = self._option_ids(examples, [[example.target] for example in examples])
        return [score.log_likelihood for (score,) in self.engine.score(self._prompts(examples), ids)]

    def _option_ids(self, examples: Sequence[Example], options: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        """Each option of each example as a whole answer."""
        if self.chat is not None:
            turns = [self._conversation(self._shown_to(example), ()) for example in examples]
            return [[self.chat.reply_ids(row, o) for o in own] for row, own in zip(turns, options, strict=True)]
        flat = iter(self.tokenizer.encode_batch([option for own in options for option in own]))
        return [[[*next(flat), self.engine.tokens.end] for _ in own] for own in options]

    def _prompts(self, examples: Sequence[Example]) -> list[Prompt]:
        before = [self.demonstrations.get(e.id, ()) for e in examples]
        if self.chat is not None:
            return [self._chat_prompt(e, row) for e, row in zip(examples, before, strict=True)]
        solved = iter(self._samples([d for row in before for d in row]))
        queries = self._samples(examples)
        rows = [[next(solved) for _ in row] for row in before]
        return [self._prompt(self._fitted(row, q)) for row, q in zip(rows, queries, strict=True)]

    def _samples(self, examples: Sequence[Example]) -> list[Sample]:
        samples = encode(
            examples,
            self.tokenizer,
            self.engine.tokens,
            close=not self.engine.causal,
            images=self.image_encoder is not None,
            qformer_tokenizer=self.qformer_tokenizer,
            layout=self.layout,
            **placing(self.engine.images),
        )
        if self.source_tokens is None:
            return samples
        cut = [s.cut(self.source_tokens, self.target_tokens) for s in samples]
        for whole, sample in zip(samples, cut, strict=True):
            if sample.source is not whole.source:
                self._lost(whole.id, len(whole.source), self.source_tokens)
        return cut

    def _fitted(self, demonstrations: Sequence[Sample], query: Sample) -> Sample:
        """The query after its demonstrations behind the opening, as much of it as the model reads."""
        room = self._room
        whole = shown(demonstrations, query)
        if room is not None and len(self.opening) + len(whole.source) > room:
            self._lost(query.id, len(self.opening) + len(whole.source), room)
            while demonstrations and len(self.opening) + len(whole.source) > room:
                demonstrations = demonstrations[1:]
                whole = shown(demonstrations, query)
            whole = whole.cut(max(1, room - len(self.opening)), self.target_tokens)
        if whole.source[: len(self.opening)] == self.opening:
            return whole
        before = 0
        if self.engine.images is not None and self.engine.images.first:  # the images stand before the start token
            before = next((i for i, token in enumerate(whole.source) if token != whole.placeholder), 0)
        source = (*whole.source[:before], *self.opening, *whole.source[before:])
        return dataclasses.replace(whole, source=source)

    def _prompt(self, sample: Sample) -> Prompt:
        if self.image_encoder is None or not sample.images:
            return Prompt(list(sample.source))
        sizes = self.engine.images.sizes(sample.images) if self.engine.images is not None else None
        return Prompt(list(sample.source), self.image_encoder(sample.images), sizes, sample.instruction)

    def _chat_prompt(self, example: Example, demonstrations: Sequence[Example]) -> Prompt:
        """The example's messages as a conversation, its demonstrations as turns before them."""
        assert self.chat is not None
        example, row = self._shown_to(example), [self._shown_to(d) for d in demonstrations]
        room = self._room
        turns = self._conversation(example, row)
        prompt = self.chat.prompt(turns)
        if room is not None and len(prompt.tokens) > room:
            self._lost(example.id, len(prompt.tokens), room)
        while room is not None and len(prompt.tokens) > room:
            if row:
                row = row[1:]
            else:
                example = _shorter(example, len(prompt.tokens) - room, self.tokenizer, room)
            prompt = self.chat.prompt(self._conversation(example, row))
        return prompt

    def _conversation(self, example: Example, demonstrations: Sequence[Example]) -> list[Message]:
        solved = [m for d in demonstrations for m in (*d.messages, Message("assistant", (d.target,)))]
        return [*solved, *example.messages]

    def _shown_to(self, example: Example) -> Example:
        """The example, without its pictures where the model sees none."""
        if self.image_encoder is not None:
            return example
        return dataclasses.replace(example, messages=tuple(Message(m.role, (m.text,)) for m in example.messages))

    @property
    def _room(self) -> int | None:
        """How many tokens a prompt may have: the reply takes at most half of a decoder's context."""
        if self.source_tokens is not None or self.context is None:
            return None
        return max(self.context - self.target_tokens, self.context // 2) if self.engine.causal else self.context

    def _most(self, prompts: Sequence[Prompt]) -> int:
        """How many tokens a reply may have."""
        if self.source_tokens is not None or self.context is None or not prompts:
            return self.target_tokens
        read = max(len(p.tokens) for p in prompts) if self.engine.causal else 0
        return max(1, min(self.target_tokens, self.context - read))

    def _lost(self, name: str, length: int, room: int) -> None:
        if not self.cuts:
            raise DataError(
                f"{name}: the prompt has {length} tokens and the model reads {room}: say it in fewer words, and of "
                "functions that are described in it give fewer"
            )
        if not self.cut:
            log.warning(
                "%s: the prompt has %d tokens and the model reads %d: demonstrations and then its middle are left out; "
                "further prompts that are cut are counted, not named",
                name,
                length,
                room,
            )
        self.cut.add(name)


def _shorter(example: Example, excess: int, tokenizer: Tokenizer, room: int) -> Example:
    """The example with so many tokens less in the middle of its longest text. Raises DataError when there are none."""
    places = [(i, j) for i, m in enumerate(example.messages) for j, p in enumerate(m.content) if isinstance(p, str)]
    texts = {(i, j): tokenizer.encode(str(example.messages[i].content[j])) for i, j in places}
    longest = max(places, key=lambda place: len(texts[place]), default=None)
    if longest is None or not texts[longest]:
        raise DataError(
            f"{example.id}: its images take more than the {room} tokens that the model reads beside its reply: show "
            "fewer of them, or ask for a shorter reply"
        )
    ids = texts[longest]
    text = tokenizer.decode(cut_middle(ids, max(0, len(ids) - excess)))
    messages = list(example.messages)
    content = list(messages[longest[0]].content)
    content[longest[1]] = text
    messages[longest[0]] = Message(messages[longest[0]].role, tuple(content))
    return dataclasses.replace(example, messages=tuple(messages))


def _softmax(scores: Sequence[float]) -> tuple[float, ...]:
    most = max(scores)
    weights = [math.exp(s - most) for s in scores]
    return tuple(w / sum(weights) for w in weights)
