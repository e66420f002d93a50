"""A model that sees, reads and writes by the native core: `ask` answers a question, `chat` a conversation, `generate`
continues a text.
"""

from __future__ import annotations

import datetime
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers
from PIL import Image

from sepiola_edge import acting, checks, constrained
from sepiola_edge import folder as folders
from sepiola_edge._native import Batch
from sepiola_edge._native import Model as Core
from sepiola_edge.asking import Answer, Asking
from sepiola_edge.calling.functions import Call, Function
from sepiola_edge.calling.token_lookup import TokenLookup
from sepiola_edge.errors import EdgeError
from sepiola_edge.frame import Frame, Letters, Pieces, plain_copy
from sepiola_edge.pictures import AnyPicture, open_pictures, opened_message
from sepiola_edge.prompt import Embedded, Fused, Looked, Placed, Prompt, Vision, images_of
from sepiola_edge.sampling import Sampling

if TYPE_CHECKING:
    from sepiola_edge.calling.constrained_row import ConstrainedRow
    from sepiola_edge.calling.constraints import ConstraintVocabulary

log = logging.getLogger(__name__)

NEW_TOKENS, REPLY = 128, 512
"""Tokens that are written at most where nobody says it: after a text, and in a conversation."""


@dataclass(frozen=True)
class Reply:
    """A turn's text, how many tokens were read and written, and the seconds to the first of these and to the last."""

    text: str
    prompt_tokens: int
    tokens: int
    first_token_seconds: float
    seconds: float


class Model:
    """A core with its tokenizer. What a prompt shares with the one before is not read again, where it is a decoder.

    `rationale` is the model that reasons before this one answers, where there are two; `functions` are what it was
    taught to call. It `sees` by a vision encoder of its own; one that reasons may see by the other's.
    """

    def __init__(self, core: Core, config: Mapping[str, Any], tokenizer: tokenizers.Tokenizer) -> None:
        self.core = core
        self.tokenizer = tokenizer
        self.rationale: Model | None = None
        self.kept: Model | None = None
        self.functions: list[Function] = []
        spec = config["core"]
        self.encodes, self.sees = "encoder" in spec, "vision" in spec
        self.width, self.vocabulary, self.length = spec["width"], spec["vocabulary"], spec["length"]
        self.ends = frozenset(checks.wholes(config, "ends"))
        self.chat_ends = frozenset(checks.wholes(config, "chat_ends"))
        self.start, self.end = (checks.whole(config, key, 0, self.vocabulary - 1) for key in ("start", "end"))
        older = (config["asking"] or {}).get("context")  # of folders that name no context of their own
        self.context = checks.whole_or_none({"context": config.get("context", older)}, "context", 1)
        new, most = config["limits"]
        self.limits = tuple(checks.whole_or_none({"limits": limit}, "limits", 1) for limit in (new, most))
        self.stop_strings = tuple(checks.texts(config, "stop_strings"))
        self.sampling = Sampling(repetition_penalty=checks.number(config, "repetition_penalty"))
        self.images = images_of(config["images"])
        self.frame = Frame.of(config["frame"]) if config["frame"] is not None else None
        self.asking = Asking.of(config["asking"]) if config["asking"] is not None else None

    @cached_property
    def plain(self) -> tokenizers.Tokenizer:
        """The tokenizer for what users write: names of special tokens are letters to it."""
        return plain_copy(self.tokenizer)

    @cached_property
    def letters(self) -> Letters:
        """How conversations are encoded. Raises EdgeError where the model has no chat template."""
        if self.frame is None:
            raise EdgeError("this model was exported without a chat template that the edge runtime can follow")
        return self.frame.letters(self.tokenizer)

    @cached_property
    def constraints(self) -> ConstraintVocabulary:
        """The tokens as grammars see them. Raises EdgeError where the library for grammars is not installed."""
        return acting.vocabulary_of(self)

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0, vision: Vision | None = None) -> Model:
        """The model of a folder, which sees by `vision` where it has no vision encoder of its own.

        Raises EdgeError for one that is damaged or holds none.
        """
        config, tensors = folders.read(folder)
        path = folder / folders.TOKENIZER
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise EdgeError(f"{path} cannot be read: {error}") from None
        try:
            core = Core(config["core"], tensors, threads, os.environ.get("SEPIOLA_KERNELS", ""), mapped=True)
            made = cls(core, config, tokenizer)
        except EdgeError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, MemoryError) as error:
            raise EdgeError(f"{folder} holds no model that can run: {error}") from None
        if made.images is not None and not made.sees:
            if vision is None:
                raise EdgeError(f"{folder}: the model sees pictures, and its vision encoder is not there")
            made.images.vision = vision
        shared = Vision(core) if made.sees else None
        if (folder / folders.KEPT).is_dir():
            made.kept = cls.load(folder / folders.KEPT, threads=threads, vision=shared)
        if (folder / folders.FUNCTIONS).exists():
            made.functions = acting.read_functions(folder / folders.FUNCTIONS)
        if made.asking is not None and made.asking.kind == "two-stage":
            made.rationale = cls.load(folder / folders.RATIONALE, threads=threads, vision=shared)
            if made.images is not None and not made.rationale.sees:
                made.images.vision = shared or made.images.vision
        return made

    def ask(
        self,
        question: str,
        *,
        image: AnyPicture | Sequence[AnyPicture] | None = None,
        choices: Sequence[str] = (),
        hint: str = "",
    ) -> Answer:
        """Answers one question about any picture (or none), in English or Chinese.

        With `choices` the answer is one of them, with a probability for each. A two-stage model writes its rationale
        first. Raises EdgeError for a picture that is none or that the model does not see, and where the model was
        exported without a way to be asked.
        """
        if self.asking is None:
            raise EdgeError("this model was exported without a way to be asked; use chat or generate")
        return self.asking.ask(self, question, open_pictures(image), choices, hint)

    def act(
        self,
        text: str,
        *,
        image: AnyPicture | Sequence[AnyPicture] | None = None,
        today: datetime.date | str | None = None,
        allow: Sequence[str] | None = None,
    ) -> list[Call]:
        """The calls that a request asks for, in English or Chinese; none where there is nothing to call.

        `today` is by default the device's day. Only functions that are `allow`ed are called, all by default. Raises
        EdgeError for a model that was taught no functions, for a request that is none or too long, and where it asks
        for a function that is not allowed.
        """
        return acting.act(self, acting.Request.of(self, text, image, today), allow)

    def generate(
        self,
        prompt: str,
        *,
        images: AnyPicture | Sequence[AnyPicture] | None = None,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: str | Sequence[str] | None = (),
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """Continues a text, spaces and all, up to an end token or before a stop string; greedy unless `sampling` says
        else. Pictures stand where the text names their placeholder, or before it. `on_text` is given the text piece by
        piece.
        """
        prompt, seen = checks.whole_text(prompt, "the prompt"), self._seen(images)
        places = self.images.name if isinstance(self.images, Placed) else None
        if isinstance(self.images, Placed):
            parts = prompt.split(self.images.name)
            if len(parts) == 1 and seen:
                parts = [*[""] * len(seen), prompt]
            if len(parts) != len(seen) + 1:
                raise EdgeError(f"the prompt has {len(seen)} pictures, and {len(parts) - 1} places for them ({places})")
            runs = [*self.images.texts(seen), ""]
            prompt = "".join(part + run for part, run in zip(parts, runs, strict=True))
        read = self.closed(self.tokenizer.encode(prompt, add_special_tokens=True).ids, seen)
        self._warn_of_length(read)
        written = self.tokens(
            read, self._room(read, max_tokens, NEW_TOKENS), Sampling.asked(sampling, self.sampling), self.ends
        )
        return "".join(self._told(self.texts(written, (*self.stop_strings, *checks.stops(stop))), on_text))

    def chat(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        tools: Sequence[object] | None = None,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: str | Sequence[str] | None = (),
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """The assistant's next turn: messages are dicts with `role` and `content`, as on the Hub and of OpenAI.

        Pictures are parts of a content: `{"type": "image", "image": …}`, and whatever `ask` takes as a picture. Raises
        EdgeError for `tools`, which a chat template declares by its code, and that does not run here.
        """
        if tools:
            raise EdgeError(
                "the edge runtime has no place for tools in a conversation: call functions by act, or chat by sepiola"
            )
        began = time.perf_counter()
        prompt, _ = self.conversation(messages)
        self._warn_of_length(prompt)
        times: list[float] = []

        def timed() -> Iterator[int]:
            room = self._room(prompt, max_tokens, REPLY)
            for token in self.tokens(prompt, room, Sampling.asked(sampling, self.sampling), self.chat_ends):
                times.append(time.perf_counter() - began)
                yield token

        text = "".join(self._told(self.texts(timed(), (*self.stop_strings, *checks.stops(stop))), on_text)).strip()
        return Reply(text, len(prompt.ids), len(times), times[0] if times else 0.0, time.perf_counter() - began)

    def conversation(self, messages: Sequence[Mapping[str, object]]) -> tuple[Prompt, Pieces]:
        """The prompt of a conversation, and its texts. Raises EdgeError for what the chat template does not take."""
        if self.frame is None:
            raise EdgeError("this model was exported without a chat template that the edge runtime can follow")
        if isinstance(messages, str | Mapping) or not all(isinstance(each, Mapping) for each in messages or ()):
            raise EdgeError(f"messages: got {messages!r:.200}; expected a list of dicts with 'role' and 'content'")
        opened = [opened_message(message) for message in messages or ()]
        seen = self._seen([picture for _, pictures in opened for picture in pictures])
        placed = self.images if isinstance(self.images, Placed) else None
        if seen and placed is not None and self.frame.shown is None:
            raise EdgeError("this model's chat template has no place for pictures that the edge runtime can follow")
        runs = None if placed is None else iter(placed.texts(seen))
        pieces = self.frame.pieces([message for message, _ in opened], runs)
        if placed is not None and any(said and placed.name in text for text, said in pieces):
            raise EdgeError(f"a message names {placed.name}, which stands for pictures: leave it out")
        return self.closed(self.letters.encode(pieces, framed=self.frame.framed), seen), pieces

    def closed(self, ids: list[int], pictures: Sequence[Image.Image] = ()) -> Prompt:
        """The prompt of a text's token ids: an encoder's ends with the end token, which stands there once."""
        lead = self.images.lead(pictures) if isinstance(self.images, Placed) else []
        tail = [self.end] if self.encodes and ids[-1:] != [self.end] else []
        return Prompt([*lead, *ids, *tail], tuple(pictures))

    def score(self, prompt: Prompt, options: Sequence[Sequence[int]]) -> list[float]:
        """How likely each continuation of a prompt is (natural logarithm)."""
        most = max(map(len, options)) - 1 + (1 if self.encodes else len(prompt.ids))
        if self.length and max(most, len(prompt.ids)) > self.length:
            raise EdgeError(
                f"a prompt of {len(prompt.ids)} tokens and an answer do not fit into {self.length} positions"
            )
        for option in options:
            self._check_tokens(option)
        if not all(map(len, options)):
            raise EdgeError("an answer has no tokens, so that none can be likely")
        batch, _, following = self._begin(prompt)
        scores = []
        for option in options:
            ids = [*following, *option[:-1]]
            states = np.empty((len(ids), self.width), np.float32)
            logits = np.empty((len(ids), self.vocabulary), np.float32)
            self.core.extend(batch, np.array(ids, np.int32), np.zeros(len(ids), np.int32), states)
            self.core.logits(states, logits)
            batch.rewind([len(ids)])
            read = logits[len(following) - 1 :]
            most_likely = read.max(1)
            total = most_likely + np.log(np.exp(read - most_likely[:, None]).sum(1))
            scores.append(float((read[np.arange(len(option)), [*option]] - total).sum()))
        return scores

    def tokens(self, prompt: Prompt, room: int, sampling: Sampling, ends: frozenset[int]) -> Iterator[int]:
        """The tokens after a prompt, one by one, the end token left out."""
        random = np.random.default_rng(sampling.seed)
        most = sampling.prompt_lookup_num_tokens
        logits = np.empty((most + 1, self.vocabulary), np.float32)
        states = np.empty((most + 1, self.width), np.float32)
        batch, read, following = self._begin(prompt)
        lookup = TokenLookup(prompt.ids if most else (), most)
        while room:
            guess = lookup.guess(room - 1)
            some = len(guess) + 1
            given = np.array([*following, *guess], np.int32)
            self.core.extend(batch, given, np.zeros(some, np.int32), states[:some])
            self.core.logits(states[:some], logits[:some])
            for right in range(some):
                token = sampling.draw(logits[right], read, random)
                if token in ends:
                    return
                yield token
                read.append(token)
                following, room = [token], room - 1
                if most:
                    lookup.add(token)
                if guess[right : right + 1] != following:
                    break
            lookup.judged(len(guess), right)
            if right < len(guess):
                batch.rewind([len(guess) - right])

    def constrained(self, prompt: Prompt, row: ConstrainedRow) -> list[int]:
        """The tokens after a prompt that a row of a grammar allows."""
        return constrained.write(self, self._begin(prompt), row)

    def _seen(self, pictures: AnyPicture | Sequence[AnyPicture] | None) -> list[Image.Image]:
        seen = open_pictures(pictures)
        if seen and self.images is None:
            raise EdgeError("the prompt shows pictures, and this model has no vision encoder; leave them out")
        return seen

    def _room(self, prompt: Prompt, asked: int | None, default: int) -> int:
        """How many tokens may follow a prompt. Raises EdgeError where none may."""
        read = 1 if self.encodes else max(1, len(prompt.ids))
        new, most = self.limits
        room = asked if asked is not None else new if new is not None else default if most is None else most - read
        if asked is not None and (not isinstance(asked, int) or isinstance(asked, bool) or asked < 1):
            raise EdgeError(f"max_tokens: got {asked!r:.200}; expected at least 1, a whole number")
        left = room if not self.length else min(room, self.length - read)
        if left < 1 or (self.length and len(prompt.ids) > self.length):
            if self.length:
                raise EdgeError(
                    f"a prompt of {len(prompt.ids)} tokens and a reply do not fit into {self.length} positions"
                )
            left = 1
        return left

    def _warn_of_length(self, prompt: Prompt) -> None:
        """Warns of a prompt that is read whole, where the model was made to read less."""
        length = len(prompt.ids)
        if self.context is not None and length > self.context:
            log.warning("the prompt has %d tokens; the model was made to read %d: it may fail", length, self.context)

    def _check_tokens(self, ids: Sequence[int]) -> None:
        if len(ids) and not 0 <= min(ids) <= max(ids) < self.vocabulary:
            raise EdgeError(f"a token is outside the model's vocabulary of {self.vocabulary}: another's tokenizer?")

    def _begin(self, prompt: Prompt) -> tuple[Batch, list[int], list[int]]:
        """The batch that has read the prompt but for the tokens that go in next; and what counts as read."""
        ids = prompt.ids or [self.end if self.encodes else self.start]
        self._check_tokens(ids)
        rows = np.zeros(len(ids), np.int32)
        sees = isinstance(self.images, Embedded) and bool(prompt.pictures)
        looked = self.images.look(self.core, prompt) if isinstance(self.images, Looked) else []
        looking = [0] * len(looked)
        if self.encodes:
            memory = np.empty((len(ids), self.width), np.float32)
            if isinstance(self.images, Embedded) and sees:
                self.core.encode_vectors(self.images.embed(self.core, prompt, self.width), rows, memory)
            else:
                self.core.encode(np.array(ids, np.int32), rows, memory)
            if isinstance(self.images, Fused):
                memory = self.images.fuse(self.core, memory, prompt.pictures)
            batch = self.core.begin_from(memory, rows, 1)
            self.core.show(batch, looked, looking)
            return batch, [self.start], [self.start]
        if isinstance(self.images, Embedded) and sees:
            vectors = self.images.embed(self.core, prompt, self.width)[:-1]
            return self.core.read_vectors(vectors, rows[:-1], 1), list(ids), ids[-1:]
        return self.core.read(np.array(ids[:-1], np.int32), rows[:-1], 1, looked, looking), list(ids), ids[-1:]

    def texts(self, tokens: Iterator[int], stops: Sequence[str]) -> Iterator[str]:
        """The text of tokens, piece by piece, before the first stop string; letters wait until they are whole."""
        ids: list[int] = []
        given = ""
        held = max((len(stop) for stop in stops), default=1) - 1
        for token in tokens:
            ids.append(token)
            text = self.tokenizer.decode(ids)
            places = [place for stop in stops if (place := text.find(stop)) >= 0]
            if places:
                yield text[len(given) : min(places)]
                return
            ready = text[: len(text) - held] if held else text
            if not text.endswith("�") and len(ready) > len(given):
                yield ready[len(given) :]
                given = ready
        yield self.tokenizer.decode(ids)[len(given) :]

    @staticmethod
    def _told(pieces: Iterator[str], on_text: Callable[[str], None] | None) -> Iterator[str]:
        for piece in pieces:
            if on_text is not None and piece:
                on_text(piece)
            yield piece
