"""Conversations as files hold them, turned into messages: requests, replies, calls of tools, pictures where they stand.

What a record holds that no model here reads (video, sound), and what is no conversation (a request without a reply, two
requests one after the other), raises UnusableError with its reason, so that a reader can leave it out and count it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sepiola.data.example import Content, Message, Role
from sepiola.data.image import ImageRef
from sepiola.datasets.record_shapes import ROLES, UNSEEN, Shape
from sepiola.datasets.tool_calls import tool_of
from sepiola.errors import DataError, shown
from sepiola.specs.base import Plain
from sepiola.specs.safe_files import parse_json

PLACE = "<image>"
_TURNS: tuple[Role, Role] = ("user", "assistant")
_PLACE = re.compile(r"\n?<image>\n?")
_BELLE = re.compile(r"(?:\A|\n)\s*(Human|Assistant)\s*[:：]\s*")
_WIDE = r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]"
_PARTED = re.compile(rf"(?<={_WIDE}) | (?={_WIDE})")


class UnusableError(Exception):
    """A record that is no conversation a model here can learn; the text says why, after "they"."""


@dataclass(frozen=True)
class Conversation:
    """Turns; which of the assistant's are not to be learned, by their places; and the tools that are declared."""

    turns: tuple[Message, ...]
    unlearned: frozenset[int] = frozenset()
    tools: tuple[Plain, ...] = ()

    @property
    def replies(self) -> list[int]:
        """The places of the turns to be learned."""
        places = [at for at, turn in enumerate(self.turns) if turn.role == "assistant"]
        return [at for at in places if at not in self.unlearned]

    def through(self, place: int) -> Conversation:
        """The conversation up to a turn, and with it."""
        return Conversation(self.turns[: place + 1], self.unlearned, self.tools)


def conversation_of(record: Plain, shape: Shape, where: str, folder: Path) -> Conversation:
    """A record as a conversation; pictures are paths from `folder`. Raises UnusableError, and DataError for damage."""
    for key, reason in UNSEEN.items():
        if record.get(key):
            raise UnusableError(reason)
    pictures = _Pictures(record.get(shape.images) if shape.images else None, folder, where)
    turns, unlearned = list[Message](), set[int]()
    if shape.system and record.get(shape.system):
        turns.append(Message("system", (_text(record[shape.system], where, shape.system),)))
    if shape.messages is not None:
        said = record.get(shape.messages)
        if not isinstance(said, list):
            raise DataError(f"{where}: '{shape.messages}' is {shown(said)}; expected a list of turns")
        for number, turn in enumerate(said):
            if isinstance(turn, Mapping) and turn.get("loss_weight") == 0:
                unlearned.add(len(turns))
            turns += turn_of(turn, shape, pictures, f"{where}, turn {number + 1}")
    else:
        turns += _asked(record, shape, pictures, where)
    turns = pictures.placed(turns)
    tools = tools_of(record.get(shape.tools), where) if shape.tools else ()
    return Conversation(tuple(turns), frozenset(at for at in unlearned if turns[at].role == "assistant"), tools)


def checked(conversation: Conversation) -> Conversation:
    """The conversation up to its last reply. Raises UnusableError where there is none, or turns do not take turns."""
    replies = conversation.replies
    if not replies:
        raise UnusableError("hold no reply")
    after = {
        "system": ("system",),
        "user": ("system", "assistant"),
        "assistant": ("user", "tool"),
        "tool": ("calls", "tool"),
    }
    before = "system"
    for turn in conversation.turns[: replies[-1] + 1]:
        if before not in after[turn.role]:
            raise UnusableError("do not take turns (request, reply, request …)")
        if turn.role == "assistant" and not turn.text.strip():
            raise UnusableError("have an empty reply")
        if turn.role == "user" and not turn.text.strip() and not any(isinstance(p, ImageRef) for p in turn.content):
            raise UnusableError("ask nothing")
        before = "calls" if turn.calls else turn.role
    return conversation.through(replies[-1])


def turn_of(turn: object, shape: Shape, pictures: _Pictures, where: str) -> list[Message]:
    """A turn as a message; none of one that says nothing."""
    if not isinstance(turn, Mapping):
        raise DataError(f"{where}: expected a turn with '{shape.role}' and '{shape.content}', got {shown(turn)}")
    name = turn.get(shape.role)
    role = shape.roles.get(str(name)) or ROLES.get(str(name))
    if role is None:
        known = ", ".join(sorted(set(shape.roles)))
        raise DataError(f"{where}: '{shape.role}' is {shown(name)}; known: {known}")
    said = turn.get(shape.content)
    if role == "call":
        if not isinstance(said, str):
            raise DataError(f"{where}: '{shape.content}' is {shown(said)}; expected a call as JSON")
        return [calling((), calls_of(said, where))]
    content, calls = list[Content](), list[Plain]()
    for part in [said] if isinstance(said, str) else said or []:
        if isinstance(part, str):
            content += pictures.text(part)
            continue
        if not isinstance(part, Mapping):
            raise DataError(f"{where}: '{shape.content}' is {shown(said)}; expected a text, or a list of parts")
        read, called = _part({**part}, pictures, where)
        content += read
        calls += called
    for call in turn.get("tool_calls") or ([turn["function_call"]] if turn.get("function_call") else []):
        calls += calls_of(call, where)
    if calls:
        return [calling(content, calls)]
    if role == "assistant" and any(isinstance(part, ImageRef) for part in content):
        raise UnusableError("have a picture in a reply")
    return [Message(role, tuple(content))]


def calling(content: Sequence[Content], calls: Sequence[Plain]) -> Message:
    """A turn of the assistant that is calls, behind what it says."""
    return Message("assistant", (*content, json.dumps(list(calls), ensure_ascii=False)), tuple(calls))


def calls_of(said: object, where: str) -> list[Plain]:
    """Calls, each a `name` and `arguments`, of JSON or of OpenAI's objects. Raises UnusableError for what is none."""
    if isinstance(said, str):
        try:
            said = parse_json(said, where, DataError)
        except DataError:
            raise UnusableError("hold a call that is no JSON") from None
    calls = []
    for call in said if isinstance(said, list) else [said]:
        inner = call.get("function", call) if isinstance(call, Mapping) else None
        arguments = inner.get("arguments", {}) if isinstance(inner, Mapping) else None
        if isinstance(arguments, str):
            try:
                arguments = parse_json(arguments or "{}", where, DataError)
            except DataError:
                arguments = None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str) or not isinstance(arguments, dict):
            raise UnusableError("hold a call without a name or arguments")
        calls.append({"name": inner["name"], "arguments": arguments})
    return calls


def tools_of(said: object, where: str) -> tuple[Plain, ...]:
    """Declared functions as OpenAI's `tools` list them, of a list or its JSON."""
    if isinstance(said, str):
        said = parse_json(said, f"{where}: tools", DataError) if said.strip() else None
    if not said:
        return ()
    if not isinstance(said, list):
        raise DataError(f"{where}: 'tools' is {shown(said)}; expected a list of functions")
    tools = []
    for tool in said:
        inner = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            raise DataError(f"{where}: a tool is {shown(tool)}; expected a function with its name")
        tools.append(tool_of(inner["name"], str(inner.get("description") or ""), inner.get("parameters"), where))
    return tuple(tools)


def joined(text: str) -> str:
    """A Chinese text without the spaces between its characters, as LCCC and CDial-GPT have them."""
    return _PARTED.sub("", text).strip()


def _asked(record: Plain, shape: Shape, pictures: _Pictures, where: str) -> list[Message]:
    """The turns of a record of a request and its reply, with its history, if it has one."""
    turns = list[Message]()
    for pair in (record.get(shape.history) if shape.history else None) or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise DataError(f"{where}: '{shape.history}' holds {shown(pair)}; expected a request and its reply")
        turns += [Message(r, pictures.text(_text(t, where, "history"))) for r, t in zip(_TURNS, pair, strict=True)]
    asked = "\n".join(_texts(record, shape.prompt, where))
    if not asked.strip():
        raise UnusableError("ask nothing")
    pieces = _BELLE.split(asked)
    if [*pieces[1::2]] == ["Human", "Assistant"] * (len(pieces) // 4) and not (pieces[0] + pieces[-1]).strip():
        said = zip(itertools.cycle(_TURNS), pieces[2:-2:2], strict=False)
        turns += [Message(role, pictures.text(text.strip())) for role, text in said]
    else:
        turns.append(Message("user", pictures.text(asked)))
    if shape.response and any(key in record for key in shape.response):
        turns.append(Message("assistant", ("\n".join(_texts(record, shape.response, where)),)))
    return turns


def _texts(record: Plain, keys: Sequence[str], where: str) -> list[str]:
    """What the record has under these keys; empty texts are left out."""
    return [text for key in keys if record.get(key) is not None and (text := _text(record[key], where, key))]


def _text(value: object, where: str, key: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: '{key}' is {shown(value)}; expected a text")
    return value


def _part(part: Plain, pictures: _Pictures, where: str) -> tuple[Sequence[Content], list[Plain]]:
    """A part of a turn's content: its text or picture, or its calls."""
    kind = str(part.get("type", "text"))
    if kind in UNSEEN:
        raise UnusableError(UNSEEN[kind])
    said = next((part[key] for key in ("value", "text", "content", kind) if part.get(key) is not None), None)
    if kind in ("text", "input_text", "output_text") and isinstance(said, str):
        return pictures.text(said), []
    if kind in ("reasoning", "thinking") and isinstance(said, str):
        return [f"<think>\n{said}\n</think>\n\n"], []
    if kind == "tool_call":
        return [], calls_of(said, where)
    if kind in ("image", "image_url", "input_image"):
        source = said if said is not None else next((part[k] for k in ("path", "url") if part.get(k)), None)
        return [pictures.next() if source is None else pictures.ref(source)], []
    raise DataError(f"{where}: a part is {shown(part)}; expected a text, a picture, reasoning or a call of a tool")


class _Pictures:
    """The pictures of a record, in their order; `<image>` in a text stands for the next of them."""

    def __init__(self, listed: object, folder: Path, where: str) -> None:
        self.folder = folder
        self.where = where
        given = [] if listed is None else listed if isinstance(listed, list) else [listed]
        self.left = [self.ref(source) for source in given]
        self.listed = len(self.left)

    def ref(self, source: object) -> ImageRef:
        """A picture by its path from the folder, or by its data. Raises UnusableError for one on the network."""
        if isinstance(source, Mapping):
            source = next((source[key] for key in ("url", "path", "bytes") if source.get(key)), None)
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            raise UnusableError("have pictures on the network, which are not fetched")
        if not isinstance(source, str) or source.startswith("data:"):
            raise DataError(f"{self.where}: a picture is {shown(source)}; expected a path from {self.folder}")
        return ImageRef(path=self.folder / source.removeprefix("file://"))

    def next(self) -> ImageRef:
        """The next picture of the list. Raises UnusableError where there is none."""
        if not self.left:
            raise UnusableError("name more pictures than they have")
        return self.left.pop(0)

    def text(self, text: str) -> tuple[Content, ...]:
        """A text with its pictures in their places."""
        if not self.listed or PLACE not in text:
            return (text,) if text else ()
        first, *rest = _PLACE.split(text)
        parts: list[Content] = [first]
        for piece in rest:
            parts += [self.next(), piece]
        return tuple(part for part in parts if part != "")

    def placed(self, turns: list[Message]) -> list[Message]:
        """The turns, with pictures that no text names before the first request. Raises UnusableError for some."""
        if len(self.left) not in (0, self.listed):
            raise UnusableError("name fewer pictures than they have")
        first = next((at for at, turn in enumerate(turns) if turn.role == "user"), None)
        if not self.left or first is None:
            return turns
        asked = Message("user", (*self.left, *turns[first].content))
        return [*turns[:first], asked, *turns[first + 1 :]]
