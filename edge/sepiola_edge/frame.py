"""A conversation as text: what a chat template sets between the turns, as pieces of text.

`sepiola export` reads the pieces off the checkpoint's template and holds them against it, so that no template, which
is code of whoever uploaded it, runs on the device. Names of control tokens in a message stay letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers

from sepiola_edge.errors import EdgeError


@dataclass(frozen=True)
class Frame:
    """`start` stands before the user's first message where there is no system prompt, `system` before and after that
    prompt where there is one (None: it takes none); `answered` between a user's message and the answer that it got,
    `following` between that and the user's next message, `reply` between the last message and the reply.
    """

    start: str
    system: tuple[str, str] | None
    answered: str
    following: str
    reply: str
    strips: bool = False
    """Whether messages lose the spaces around them."""
    framed: bool = False
    """Whether the tokenizer sets its own tokens around the text."""

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Frame:
        """The frame as `edge.json` holds it."""
        try:
            system = None if raw["system"] is None else (str(raw["system"][0]), str(raw["system"][1]))
            start, answered, following, reply = (str(raw[key]) for key in ("start", "answered", "following", "reply"))
            return cls(start, system, answered, following, reply, bool(raw["strips"]), bool(raw["framed"]))
        except (KeyError, IndexError, TypeError) as error:
            raise EdgeError(f"edge.json: 'frame' is damaged ({error})") from None

    def pieces(self, messages: Sequence[Mapping[str, object]]) -> list[tuple[str, bool]]:
        """The conversation as texts, each with whether a message said it: system at most first, then user and assistant
        by turns, the user last.
        """
        turns = [self._turn(message) for message in messages]
        pieces: list[tuple[str, bool]] = []
        if turns and turns[0][0] == "system":
            if self.system is None:
                raise EdgeError("this model's chat template takes no system prompt")
            pieces += [(self.system[0], False), (turns.pop(0)[1], True), (self.system[1], False)]
        else:
            pieces += [(self.start, False)]
        expected = ["user" if i % 2 == 0 else "assistant" for i in range(len(turns))]
        if not turns or [role for role, _ in turns] != expected or len(turns) % 2 == 0:
            given = ", ".join(str(message.get("role")) for message in messages) or "none"
            raise EdgeError(f"messages are of: {given}; expected user and assistant by turns, the user last")
        for i, (role, text) in enumerate(turns):
            last = i == len(turns) - 1
            after = self.reply if last else self.answered if role == "user" else self.following
            pieces += [(text, True), (after, False)]
        return pieces

    def _turn(self, message: Mapping[str, object]) -> tuple[str, str]:
        role, content = message.get("role"), message.get("content")
        if isinstance(content, list) and all(
            isinstance(part, Mapping) and part.get("type") == "text" for part in content
        ):
            content = "".join(str(part.get("text", "")) for part in content)
        if not isinstance(role, str) or not isinstance(content, str):
            raise EdgeError(f"a message has a 'role' and a text as its 'content'; got {dict(message)!r:.200}")
        return role, content.strip() if self.strips else content


def encode(pieces: Sequence[tuple[str, bool]], tokenizer: tokenizers.Tokenizer, framed: bool) -> list[int]:
    """Token ids of a conversation: as one text, or in parts where a message names control tokens: they stay letters."""
    names = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    if not any(said and name in text for text, said in pieces for name in names):
        ids: list[int] = tokenizer.encode("".join(text for text, _ in pieces), add_special_tokens=framed).ids
        return ids
    plain = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    plain.encode_special_tokens = True
    parts = [(plain if said else tokenizer).encode(text, add_special_tokens=False).ids for text, said in pieces]
    return [token for part in parts for token in part]
