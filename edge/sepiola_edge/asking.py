"""How a question is put to a model: as it was trained to answer, by its chat template, or as plain text; at once, or
with a rationale that it writes first, or that a model of its own writes.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from sepiola_edge import checks
from sepiola_edge.errors import EdgeError
from sepiola_edge.frame import Pieces
from sepiola_edge.prompt import Placed, Prompt, cut_text
from sepiola_edge.questions import Format, Question, split_rationale

if TYPE_CHECKING:
    from sepiola_edge.model import Model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """The answer's text, the rationale before it, and the probability of each of `choices`."""

    answer: str
    rationale: str | None = None
    probabilities: tuple[float, ...] | None = None
    choice: int | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asking:
    """`kind` is direct, one-stage or two-stage; `layout` is None (as recipes train it), text or chat.

    Prompts have at most `source_tokens`, without it what `context` leaves beside the reply; their middle is cut.
    """

    kind: str
    layout: str | None
    images: bool
    source_tokens: int | None
    context: int | None
    answer_tokens: int
    rationale_tokens: int
    opening: tuple[int, ...]
    pictures_last: bool
    answer: Format
    rationale: Format | None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Asking:
        """As `edge.json` holds it. Raises EdgeError for one that is damaged."""
        try:
            names = {field.name for field in dataclasses.fields(cls)}
            formats = {key: None if raw[key] is None else Format.of(raw[key]) for key in ("answer", "rationale")}
            values = {key: raw[key] for key in names - formats.keys()}
            values |= {key: checks.flag(raw, key) for key in ("images", "pictures_last")}
            values |= {key: checks.whole_or_none(raw, key, 1) for key in ("source_tokens", "context")}
            values |= {key: checks.whole(raw, key) for key in ("answer_tokens", "rationale_tokens")}
            made = cls(**{**values, **formats, "opening": tuple(checks.wholes(raw, "opening"))})
            if made.answer is None or made.kind not in ("direct", "one-stage", "two-stage"):
                raise ValueError(f"kind {made.kind!r}")
            if made.layout not in (None, "text", "chat"):
                raise ValueError(f"layout {made.layout!r}")
            return made
        except EdgeError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise EdgeError(f"edge.json: 'asking' is damaged ({error})") from None

    def ask(
        self, model: Model, text: str, pictures: Sequence[Image.Image], choices: Sequence[str], hint: str
    ) -> Answer:
        """The model's answer. Raises EdgeError for what is no text, and pictures that the model does not see."""
        if isinstance(choices, str) or not all(isinstance(each, str) for each in (text, hint, *choices)):
            raise EdgeError(f"question, hint and choices are texts; got {text!r}, {hint!r}, {choices!r}")
        for number, choice in enumerate(choices):
            if not choice.strip() or choice in choices[:number]:
                raise EdgeError(f"choices[{number}] is {choice!r}; expected texts, each of them once")
        question = Question(text, tuple(choices), hint)
        if self.kind == "two-stage":
            return self._in_two_stages(model, question, pictures)
        if self.kind == "one-stage":
            tokens = self.rationale_tokens + self.answer_tokens
            written = self._written(model, self.answer.prompt(question), pictures, tokens)
            rationale = split_rationale(written)
            if not choices:
                return Answer(written, rationale)
            return self._chosen(model, question, pictures, rationale, tokens, shown=None)
        if choices:
            return self._chosen(model, question, pictures, None, self.answer_tokens, shown=None)
        return Answer(self._written(model, self.answer.prompt(question), pictures, self.answer_tokens))

    def _in_two_stages(self, model: Model, question: Question, pictures: Sequence[Image.Image]) -> Answer:
        if model.rationale is None or self.rationale is None:
            raise EdgeError("this model answers in two stages, and the one that reasons is not in its folder")
        prompt = self.rationale.prompt(question)
        rationale = split_rationale(self._written(model.rationale, prompt, pictures, self.rationale_tokens))
        if question.choices:
            return self._chosen(model, question, pictures, rationale, self.answer_tokens, shown=rationale)
        text = self._written(model, self.answer.prompt(question, rationale), pictures, self.answer_tokens)
        return Answer(text, rationale)

    def _chosen(
        self,
        model: Model,
        question: Question,
        pictures: Sequence[Image.Image],
        rationale: str | None,
        tokens: int,
        *,
        shown: str | None,
    ) -> Answer:
        """The likeliest option, after the rationale that the prompt has `shown` or that the option begins with."""
        options = self.answer.options(question, rationale or "")
        prompt, pieces = self.prompt(model, self.answer.prompt(question, shown), pictures, tokens)
        scores = model.score(prompt, [self._ids(model, pieces, option) for option in options])
        most = max(scores)
        weights = [math.exp(score - most) for score in scores]
        shares = tuple(weight / sum(weights) for weight in weights)
        best = max(range(len(shares)), key=shares.__getitem__)
        return Answer(question.choices[best], rationale, shares, best, question.choices)

    def _ids(self, model: Model, pieces: Pieces, option: str) -> list[int]:
        """An option's token ids, with the one that ends it."""
        if self.layout == "chat" and model.frame is not None:
            return model.frame.reply_ids(pieces, option, model.letters, model.chat_ends, model.end)
        return [*model.tokenizer.encode(option, add_special_tokens=False).ids, model.end]

    def _written(self, model: Model, text: str, pictures: Sequence[Image.Image], tokens: int) -> str:
        prompt, _ = self.prompt(model, text, pictures, tokens)
        room = self.room(model, prompt, tokens)
        ends = model.chat_ends if self.layout == "chat" else model.ends
        return "".join(model.texts(model.tokens(prompt, room, model.sampling, ends), model.stop_strings)).strip()

    def room(self, model: Model, prompt: Prompt, tokens: int) -> int:
        """How many of so many tokens may follow a prompt. Raises EdgeError where none may."""
        if self.source_tokens is None and self.context is not None:
            tokens = max(1, min(tokens, self.context - (0 if model.encodes else len(prompt.ids))))
        if model.length:
            tokens = min(tokens, model.length - (1 if model.encodes else len(prompt.ids)))
        if tokens < 1:
            raise EdgeError(f"a prompt of {len(prompt.ids)} tokens leaves no room for an answer")
        return tokens

    def prompt(
        self, model: Model, text: str, pictures: Sequence[Image.Image], tokens: int, *, whole: bool = False
    ) -> tuple[Prompt, Pieces]:
        """The prompt, and of a conversation its texts. Raises EdgeError where it is too long and must stay `whole`."""
        if pictures and (model.images is None or not self.images):
            raise EdgeError("the question shows pictures, and this model reads text alone; leave them out")
        room = self.source_tokens
        if room is None and self.context is not None:
            room = self.context if model.encodes else max(self.context - tokens, self.context // 2)
            room = max(1, room - len(self.opening))
        if self.layout == "chat":
            parts = [*({"type": "image", "image": picture} for picture in pictures), {"type": "text", "text": text}]
            prompt, pieces = model.conversation([{"role": "user", "content": parts}])
            if room is not None and len(prompt.ids) > room:
                raise _too_long(len(prompt.ids), room)
            return prompt, pieces
        plain = model.plain.encode(text, add_special_tokens=False).ids
        runs = [token for picture in pictures for token in _run_ids(model, picture, alone=len(pictures) == 1)]
        ids = [*plain, *runs] if self.pictures_last else [*runs, *plain]
        ids = [*ids, model.end] if model.encodes else ids
        if room is not None and len(ids) > room:
            if whole:
                raise _too_long(len(ids), room)
            log.warning("the prompt has %d tokens and the model reads %d: its middle is left out", len(ids), room)
            ids = cut_text(ids, room, set(runs) & _of_pictures(model))
        before = () if tuple(ids[: len(self.opening)]) == self.opening else self.opening
        first = len(runs) if isinstance(model.images, Placed) and model.images.first else 0
        return Prompt([*ids[:first], *before, *ids[first:]], tuple(pictures)), []


def _too_long(length: int, room: int) -> EdgeError:
    return EdgeError(f"the prompt has {length} tokens, and the model reads {room}: shorten it")


def _run_ids(model: Model, picture: Image.Image, *, alone: bool) -> Iterator[int]:
    if isinstance(model.images, Placed):
        for part in model.images.run(picture, alone=alone):
            yield from model.tokenizer.encode(part, add_special_tokens=False).ids if isinstance(part, str) else (part,)


def _of_pictures(model: Model) -> set[int]:
    """The special tokens and the placeholder: what of a picture's run is its own."""
    special = {token for token, entry in model.tokenizer.get_added_tokens_decoder().items() if entry.special}
    return special if model.images is None or model.images.token is None else special | {model.images.token}
