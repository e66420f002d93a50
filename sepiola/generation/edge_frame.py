"""What a chat template sets around a conversation's messages and pictures, read off it, so that no template, which is
code of whoever uploaded it, runs on a device.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from sepiola.data.example import Content, Message
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.text.chat import ChatTemplate

if TYPE_CHECKING:
    from sepiola_edge.frame import Frame, Shown

_PICTURE = ImageRef(path=Path("picture"))

Turn = tuple[str, tuple[Content, ...]]
"""A role, and texts and pictures."""


class Split(Protocol):
    """What a template writes before each text of a conversation, and after the last."""

    def __call__(self, *turns: Turn, open_end: bool = True) -> list[str]: ...


def frame_of(
    template: ChatTemplate, *, framed: bool = False, place: str | None = None, controls: Sequence[str] | None = None
) -> tuple[Frame, str | None]:
    """What a chat template sets around messages, found with messages that nobody writes and held against others; and
    why it has no place for pictures, where it has none. `place` is the name of a picture's placeholder, `controls` are
    names that are letters in a message.

    Raises DataError for a template that does more than set texts around messages.
    """
    if any("strftime_now" in source for source in template.templates.values()):
        raise DataError("the chat template states the date, which a frame cannot")
    from sepiola_edge.frame import Frame

    said = [f"q{secrets.token_hex(8)}z" for _ in range(4)]
    first, answer, second, system = said

    def split(*turns: Turn, open_end: bool = True) -> list[str]:
        text, parts = _rendered(template, turns, open_end), list[str]()
        for content in (part for _, contents in turns for part in contents if isinstance(part, str)):
            before, found, text = text.partition(content)
            if not found:
                raise DataError("the chat template moves, changes or leaves out a message")
            parts.append(before)
        return [*parts, text]

    start, reply = split(("user", (first,)))
    _, answered, following, end = split(("user", (first,)), ("assistant", (answer,)), ("user", (second,)))
    _, last, closed = split(("user", (first,)), ("assistant", (answer,)), open_end=False)
    try:
        head, tail, _ = split(("system", (system,)), ("user", (first,)))
        around: tuple[str, str] | None = (head, tail)
        padded = f"\t{system}\t"
        strips_system = padded not in _rendered(template, [("system", (padded,)), ("user", (first,))])
    except DataError:
        around, strips_system = None, False
    padded = f"\t{first}\t"
    strips = padded not in _rendered(template, [("user", (padded,))])
    if end != reply:
        raise DataError("the chat template sets other texts around later turns")
    frame = Frame(
        start=start,
        system=around,
        answered=answered,
        following=following,
        reply=reply,
        closed=closed,
        shown=None,
        strips=strips,
        strips_system=strips_system,
        framed=framed,
        last=last,
        controls=None if controls is None else tuple(controls),
    )
    _check(template, frame, said, place)
    if place is None:
        return frame, None
    begin = template.special_tokens.get("bos_token")
    begun = {bool(begin) and text.startswith(begin or "") for text in (start, *(around or ())[:1])}
    if len(begun) > 1:
        raise DataError("the chat template writes the start token with a system prompt or without, and not both")
    frame = replace(frame, framed=framed or not begun.pop())
    try:
        shown = _shown(split, said, around, place)
        pictured = replace(frame, shown=shown)
        try:
            _check(template, pictured, said, place)
        except DataError:
            pictured = replace(frame, shown=replace(shown, in_order=False))
            _check(template, pictured, said, place)
        return pictured, None
    except DataError as error:
        return frame, str(error)


def _shown(split: Split, said: Sequence[str], around: tuple[str, str] | None, place: str) -> Shown:
    """What stands around pictures, and before messages that begin with one."""
    from sepiola_edge.frame import Shown

    first, answer, second, lead = said

    def around_one(text: str) -> tuple[str, str]:
        before, found, after = text.partition(place)
        if not found or place in after:
            raise DataError(f"the chat template writes pictures otherwise than by {place}")
        return before, after

    start, then = around_one(split(("user", (_PICTURE, first)))[0])
    two = split(("user", (_PICTURE, _PICTURE, first)))[0]
    between = two.removeprefix(start + place).removesuffix(place + then)
    talk: tuple[Turn, ...] = (("user", (first,)), ("assistant", (answer,)), ("user", (_PICTURE, second)))
    following, _ = around_one(split(*talk)[2])
    system = "" if around is None else around_one(split(("system", (lead,)), ("user", (_PICTURE, first)))[1])[0]
    middle = split(("user", (first, _PICTURE, second)))[1]
    turn = middle.partition(place)[0] if place in middle else ""
    return Shown(start=start, system=system, following=following, between=between, then=then, turn=turn, in_order=True)


def _check(template: ChatTemplate, frame: Frame, said: Sequence[str], place: str | None) -> None:
    """Raises DataError where conversations laid out by the frame are not the template's."""
    picture = Image.new("RGB", (1, 1))
    talk = ["user", "assistant"] * 3
    kinds = [["user"], [*talk, "user"], *([["system", "user"], ["system", *talk, "user"]] if frame.system else [])]
    orders = ["t"]
    if frame.shown is not None:
        orders += ["pt", "ppt", "pppt", *(["tp", "ptp", "p"] if frame.shown.in_order else [])]
    for roles in kinds:
        for order in orders:
            for around in ("{}", "  {}\n\n", "{} 你好 <b>"):
                texts = [around.format(said[i % len(said)]) for i in range(len(roles))]
                turns: list[Turn] = []
                messages: list[dict[str, object]] = []
                for number, (role, text) in enumerate(zip(roles, texts, strict=True)):
                    mixed = order if role == "user" and number % 4 < 2 else "t"
                    turns.append((role, tuple(text if kind == "t" else _PICTURE for kind in mixed)))
                    parts = [text if kind == "t" else {"type": "image", "image": picture} for kind in mixed]
                    messages.append({"role": role, "content": parts})
                laid = "".join(text for text, _ in frame.pieces(messages, repeat(place or "")))
                if laid != _rendered(template, turns):
                    raise DataError("the chat template does more than set texts around messages")


def _rendered(template: ChatTemplate, turns: Sequence[Turn], open_end: bool = True) -> str:
    messages = [Message(role, content) for role, content in turns]  # type: ignore[arg-type]
    return template.render(messages, add_generation_prompt=open_end)
