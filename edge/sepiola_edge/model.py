"""A model that reads and writes text by the native core: `generate` continues a text, `chat` answers a conversation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from sepiola_edge import folder as folders
from sepiola_edge._native import Batch
from sepiola_edge._native import Model as Core
from sepiola_edge.errors import EdgeError
from sepiola_edge.frame import Frame, encode
from sepiola_edge.sampling import Sampling

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
    """A core with its tokenizer. What a prompt shares with the one before is not read again, where it is a decoder."""

    def __init__(self, core: Core, config: Mapping[str, Any], tokenizer: tokenizers.Tokenizer) -> None:
        self.core = core
        self.tokenizer = tokenizer
        spec = config["core"]
        self.encodes = "encoder" in spec
        self.width, self.vocabulary, self.length = spec["width"], spec["vocabulary"], spec["length"]
        self.ends = frozenset(config["ends"])
        self.chat_ends = frozenset(config["chat_ends"])
        self.start, self.end = config["start"], config["end"]
        self.limits = config["limits"]
        self.stop_strings = tuple(config["stop_strings"])
        self.sampling = Sampling(repetition_penalty=config["repetition_penalty"])
        self.frame = Frame.of(config["frame"]) if config["frame"] is not None else None
        self._kept: tuple[Batch, list[int]] | None = None

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> Model:
        """The model of a folder. Raises EdgeError for one that is damaged or holds none."""
        config, tensors = folders.read(folder)
        path = folder / folders.TOKENIZER
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise EdgeError(f"{path} cannot be read: {error}") from None
        try:
            core = Core(config["core"], tensors, threads, os.environ.get("SEPIOLA_KERNELS", ""))
            return cls(core, config, tokenizer)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise EdgeError(f"{folder} holds no model that can run: {error}") from None

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """Continues a text, spaces and all, up to an end token or before a stop string; greedy unless `sampling` says
        else. `on_text` is given the text piece by piece.
        """
        ids = self.tokenizer.encode(prompt, add_special_tokens=True).ids
        if self.encodes and ids[-1:] != [self.end]:
            ids = [*ids, self.end]
        written = self._tokens(ids, self._room(ids, max_tokens, NEW_TOKENS), sampling or self.sampling, self.ends)
        return "".join(self._told(self._texts(written, (*self.stop_strings, *stop)), on_text))

    def chat(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """The assistant's next turn: messages are dicts with `role` and `content`, as on the Hub and of OpenAI."""
        if self.frame is None:
            raise EdgeError("this model was exported without a chat template that the edge runtime can follow")
        began = time.perf_counter()
        ids = encode(self.frame.pieces(messages), self.tokenizer, self.frame.framed)
        ids = [*ids, self.end] if self.encodes and ids[-1:] != [self.end] else ids
        times: list[float] = []

        def timed() -> Iterator[int]:
            room = self._room(ids, max_tokens, REPLY)
            for token in self._tokens(ids, room, sampling or self.sampling, self.chat_ends):
                times.append(time.perf_counter() - began)
                yield token

        text = "".join(self._told(self._texts(timed(), (*self.stop_strings, *stop)), on_text)).strip()
        return Reply(text, len(ids), len(times), times[0] if times else 0.0, time.perf_counter() - began)

    def _room(self, ids: Sequence[int], asked: int | None, default: int) -> int:
        """How many tokens may follow a prompt. Raises EdgeError where none may."""
        read = 1 if self.encodes else max(1, len(ids))
        new, most = self.limits
        room = asked if asked is not None else new if new is not None else default if most is None else most - read
        if asked is not None and asked < 1:
            raise EdgeError(f"max_tokens: got {asked}; expected at least 1")
        left = room if not self.length else min(room, self.length - read)
        if left < 1 or (self.length and len(ids) > self.length):
            if self.length:
                raise EdgeError(f"a prompt of {len(ids)} tokens and a reply do not fit into {self.length} positions")
            left = 1
        return left

    def _tokens(self, ids: list[int], room: int, sampling: Sampling, ends: frozenset[int]) -> Iterator[int]:
        """The tokens after a prompt, one by one, the end token left out."""
        random = np.random.default_rng(sampling.seed)
        logits = np.empty((1, self.vocabulary), np.float32)
        state = np.empty((1, self.width), np.float32)
        batch, read, following = self._begin(ids or [self.end if self.encodes else self.start])
        for _ in range(room):
            self.core.extend(batch, np.array(following, np.int32), np.zeros(len(following), np.int32), state)
            self.core.logits(state, logits)
            token = sampling.draw(logits[0], read, random)
            if token in ends:
                return
            yield token
            read.append(token)
            following = [token]
            if self._kept is not None:
                self._kept[1].append(token)

    def _begin(self, ids: list[int]) -> tuple[Batch, list[int], list[int]]:
        """The batch that has read the prompt but for the tokens that go in next; and what counts as read."""
        if self.encodes:
            rows = np.zeros(len(ids), np.int32)
            memory = np.empty((len(ids), self.width), np.float32)
            self.core.encode(np.array(ids, np.int32), rows, memory)
            return self.core.begin_from(memory, rows, 1), [self.start], [self.start]
        batch, known = self._kept or (self.core.begin(1), [])
        same = 0
        while same < min(len(known), len(ids) - 1, batch.lengths[0]) and known[same] == ids[same]:
            same += 1
        batch.rewind([batch.lengths[0] - same])
        rest = ids[same:-1]
        if rest:
            self.core.extend(batch, np.array(rest, np.int32), np.zeros(len(rest), np.int32), None)
        self._kept = batch, list(ids)
        return batch, list(ids), ids[-1:]

    def _texts(self, tokens: Iterator[int], stops: Sequence[str]) -> Iterator[str]:
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
