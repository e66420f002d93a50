"""A conversation as text: what a chat template sets between the turns, as pieces of text.

`sepiola export` reads the pieces off the checkpoint's template and holds them against it, so that no template, which
is code of whoever uploaded it, runs on the device. Names of control tokens in a message stay letters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers
from PIL import Image

from sepiola_edge import checks
from sepiola_edge.calling.control_tokens import ControlTokens
from sepiola_edge.errors import EdgeError

Content = list[str | Image.Image]
Pieces = list[tuple[str, bool]]
"""Texts, each with whether a message said it."""


@dataclass(frozen=True)
class Shown:
    """How pictures stand in a conversation: `start`, `system` and `following` in the stead of the frame's, before a
    message that begins with a picture; `between` two pictures, `then` between a picture and the text behind it, and
    `turn` between a text and the picture behind it. Where they do not stand `in_order`, a message's pictures come
    before its text.
    """

    start: str
    system: str
    following: str
    between: str
    then: str
    turn: str
    in_order: bool


@dataclass(frozen=True)
class Frame:
    """`start` stands before the user's first message where there is no system prompt, `system` before and after that
    prompt where there is one (None: it takes none); `answered` between a user's message and the answer that it got,
    `following` between that and the user's next message, and `reply` between the last message and the reply. `last`
    stands before an answer that is the last (None: `answered`), and `closed` after it. `shown` is for pictures; None
    where the template has no place for them.
    """

    start: str
    system: tuple[str, str] | None
    answered: str
    following: str
    reply: str
    closed: str
    shown: Shown | None
    strips: bool = False
    """Whether messages lose the spaces around them."""
    strips_system: bool = False
    """Whether the system prompt does."""
    framed: bool = False
    """Whether the tokenizer sets its own tokens around the text."""
    last: str | None = None
    controls: tuple[str, ...] | None = None
    """Names that are letters in a message; None: those of the tokenizer's special tokens."""

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Frame:
        """The frame as `edge.json` holds it."""
        try:
            system = None
            if raw["system"] is not None:
                head, tail = checks.texts(raw, "system")
                system = head, tail
            start, answered, following, reply, closed = (
                checks.text(raw, key) for key in ("start", "answered", "following", "reply", "closed")
            )
            shown = None
            if raw["shown"] is not None:
                named = ("start", "system", "following", "between", "then", "turn")
                said = {key: checks.text(raw["shown"], key) for key in named}
                shown = Shown(**said, in_order=checks.flag(raw["shown"], "in_order"))
            strips, strips_system, framed = (checks.flag(raw, key) for key in ("strips", "strips_system", "framed"))
            last = None if raw.get("last") is None else checks.text(raw, "last")
            controls = None if raw.get("controls") is None else tuple(checks.texts(raw, "controls"))
            around = (start, system, answered, following, reply, closed, shown)
            return cls(*around, strips, strips_system, framed, last, controls)
        except EdgeError:
            raise
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise EdgeError(f"edge.json: 'frame' is damaged ({error})") from None

    def pieces(self, messages: Sequence[Mapping[str, object]], runs: Iterator[str] | None = None) -> Pieces:
        """The conversation as texts: system at most first, then user and assistant by turns, the user last.

        `runs` are the tokens of each picture as text; without them pictures have none.
        """
        for message in messages:
            if message.get("tool_calls") or message.get("role") == "tool":
                what = "tool_calls" if message.get("tool_calls") else "a message of the role 'tool'"
                raise EdgeError(f"the edge runtime has no place for {what} in a conversation: say it in a text instead")
        turns = [self._turn(message) for message in messages]
        pieces: Pieces = []
        head = self.start
        if turns and turns[0][0] == "system":
            if self.system is None:
                raise EdgeError("this model's chat template takes no system prompt")
            pieces += [(self.system[0], False), *((str(part), True) for part in turns.pop(0)[1])]
            head = self.system[1]
        expected = ["user" if i % 2 == 0 else "assistant" for i in range(len(turns))]
        if not turns or [role for role, _ in turns] != expected or len(turns) % 2 == 0:
            given = ", ".join(str(message.get("role")) for message in messages) or "none"
            raise EdgeError(f"messages are of: {given}; expected user and assistant by turns, the user last")
        for i, (role, content) in enumerate(turns):
            before = self._before(content, head, first=i == 0) if role == "user" else self.answered
            pieces += [(before, False), *self._said(content, runs)]
            head = self.following
        return [*pieces, (self.reply, False)]

    def letters(self, tokenizer: tokenizers.Tokenizer) -> Letters:
        """How its conversations are encoded."""
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
        return Letters(tokenizer, special if self.controls is None else self.controls)

    def reply_ids(self, pieces: Pieces, reply: str, letters: Letters, ends: Collection[int], end: int) -> list[int]:
        """Token ids of a reply after a conversation, with the token that ends it."""
        before = self.answered if self.last is None else self.last
        lead, tail = (before[len(self.reply) :], self.closed) if before.startswith(self.reply) else ("", "")
        known = letters.encode(pieces)
        ids = letters.encode([*pieces, (lead, False), (reply, True)])
        if ids[: len(known)] != known:  # where prompt and reply melt into one token, the reply is encoded alone
            known, ids = [], letters.encode([(lead, False), (reply, True)])
        closing = [token for token in letters.encode([(tail, False)])[:1] if token in ends]
        return [*ids[len(known) :], *(closing or [end])]

    def _before(self, content: Content, head: str, *, first: bool) -> str:
        """What stands before a user's message."""
        if self.shown is None or not content or isinstance(content[0], str):
            return head
        if not first:
            return self.shown.following
        return self.shown.start if head == self.start else self.shown.system

    def _said(self, content: Content, runs: Iterator[str] | None) -> Pieces:
        pieces: Pieces = []
        shown = self.shown if runs is not None else None
        for place, part in enumerate(content):
            before = content[place - 1] if place else None
            if isinstance(part, str):
                pieces += [(shown.then, False)] if shown is not None and isinstance(before, Image.Image) else []
                pieces.append((part, True))
            elif runs is not None and shown is not None:
                glue = "" if before is None else shown.turn if isinstance(before, str) else shown.between
                pieces.append((glue + next(runs), False))
        return pieces

    def _turn(self, message: Mapping[str, object]) -> tuple[str, Content]:
        role, content = message.get("role"), message.get("content")
        parts = _parts([content] if isinstance(content, str) else content)
        if not isinstance(role, str) or parts is None:
            raise EdgeError(f"a message has a 'role' and a text as its 'content'; got {dict(message)!r:.200}")
        for part in parts:
            if isinstance(part, str):
                checks.whole_text(part, "a message")
        pictures = [part for part in parts if not isinstance(part, str)]
        if pictures and role != "user":
            raise EdgeError("pictures stand in the user's messages alone")
        if pictures and self.shown is not None and not self.shown.in_order:
            parts = [*pictures, "".join(part for part in parts if isinstance(part, str))]
        strips = self.strips_system if role == "system" else self.strips
        return role, [part.strip() if strips and isinstance(part, str) else part for part in parts]


def _parts(content: object) -> Content | None:
    """Texts and pictures in their order, neighbouring texts as one; None for what is neither."""
    if not isinstance(content, list | tuple):
        return None
    parts: Content = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        found = part if not isinstance(part, Mapping) else part.get("text" if kind == "text" else "image")
        if not isinstance(found, str | Image.Image) or (isinstance(found, str) and kind not in (None, "text")):
            return None
        if isinstance(found, str) and parts and isinstance(last := parts[-1], str):
            parts[-1] = last + found
        else:
            parts.append(found)
    return parts


def plain_copy(tokenizer: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A copy to which names of special tokens are letters."""
    plain = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    plain.encode_special_tokens = True
    return plain


class Letters:
    """Conversations as token ids: the `names` of control tokens in a message are letters."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, names: Collection[str]) -> None:
        self.tokenizer = tokenizer
        self.tokens = ControlTokens(tokenizer, names)

    def encode(self, pieces: Pieces, *, framed: bool = False) -> list[int]:
        """The token ids of texts one after the other; `framed`, with the tokenizer's own tokens around them."""
        named = any(said and self.tokens.pattern.search(text) for text, said in pieces)
        tokenizer = self.tokens.renamed if named else self.tokenizer
        texts = (self.tokens.hidden(text) if named and not said else text for text, said in pieces)
        ids: list[int] = tokenizer.encode("".join(texts), add_special_tokens=framed).ids
        return ids
