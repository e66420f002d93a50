"""Shapes of records that hold instructions and conversations, and how one is known from another.

The shapes are those of Stanford's Alpaca, BELLE, COIG, ShareGPT, LLaVA, OpenAI's messages and LLaMA-Factory, whose
`dataset_info.json` names a shape's columns and tags. Without such an entry a record is known by its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from sepiola.data.example import Role
from sepiola.errors import DataError, shown

Speaker = Role | Literal["call"]
ROLES: dict[str, Speaker] = {
    **dict.fromkeys(("user", "human", "User", "Human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "Assistant"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function", "function_response"), "tool"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}
"""Who speaks, by the names that files have for it; a `call` is an assistant's turn that is JSON of calls."""

TAGS: dict[str, Speaker] = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "call",
}
COLUMNS = {
    *("prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios"),
    *("chosen", "rejected", "kto_tag"),
}
TALKS = ("messages", "conversations", "conversation")
QUESTIONS = (
    (("instruction", "input"), ("output",)),
    (("instruction",), ("response",)),
    (("prompt",), ("response",)),
    (("prompt",), ("completion",)),
    (("question",), ("answer",)),
    (("question",), ("std_answer",)),  # BELLE's evaluation
    (("textbox_q_instruction", "textbox_q_context", "textbox_question"), ("textbox_answer", "textbox_answer_analysis")),
)
"""Keys of a request and of its reply: what is there of each is joined by line breaks."""
PAIRS = (("chosen", "rejected"), ("chosen_messages", "rejected_messages"))
RANKED = ("completions", "answers", "responses")
"""Keys of replies that are compared: of two, and of several with their scores or ranks."""
UNSEEN = {
    **dict.fromkeys(("videos", "video", "video_url", "input_video"), "hold video, which no model here sees"),
    **dict.fromkeys(("audios", "audio", "audio_url", "input_audio"), "hold sound, which no model here hears"),
}


@dataclass(frozen=True)
class Shape:
    """Where a record keeps what: a list of turns (`messages`), or a request (`prompt`) and its reply (`response`).

    `role` and `content` are a turn's keys, and `roles` says who speaks by the values of `role`.
    """

    prompt: tuple[str, ...] = ()
    response: tuple[str, ...] = ()
    messages: str | None = None
    role: str = "role"
    content: str = "content"
    roles: Mapping[str, Speaker] = field(default_factory=lambda: ROLES)
    history: str | None = "history"
    system: str | None = "system"
    tools: str | None = "tools"
    images: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    ranked: str | None = None
    label: str | None = None


def shape_of(record: Mapping[str, object], where: str) -> Shape:
    """The shape of a record, by its keys. Raises DataError for one that is none of them."""
    images = next((key for key in ("images", "image") if key in record), None)
    pair = next((names for names in PAIRS if record.keys() >= {*names}), (None, None))
    ranked = next((key for key in RANKED if isinstance(record.get(key), list)), None)
    label = next((key for key in ("label", "kto_tag") if isinstance(record.get(key), bool)), None)
    base = Shape(images=images, chosen=pair[0], rejected=pair[1], ranked=ranked, label=label)
    for key in TALKS:
        turns = record.get(key)
        if isinstance(turns, list) and turns:
            role, content = keys_of(turns[0], f"{where}: {key}")
            return replace(base, messages=key, role=role, content=content)
    if empty := next((key for key in TALKS if record.get(key) == []), None):
        return replace(base, messages=empty)  # a conversation without turns
    asked = [both for both in QUESTIONS if both[0][-1] in record or (both[0][0] in record and len(both[0]) == 2)]
    whole = [both for both in asked if both[1][0] in record]
    if isinstance(record.get("instances"), list):  # seed tasks, each with inputs and outputs of its own
        whole = whole or asked
    if whole or (asked and (label is not None or pair[0] or ranked)):
        prompt, response = (whole or asked)[0]
        return replace(base, prompt=prompt, response=response)
    if pair[0] is not None:
        return base
    if "text" in record:
        raise DataError(f"{where}: plain text ('text'), and no instruction; the reader 'text' reads folders of text")
    raise DataError(
        f"{where}: its keys are {shown(sorted(record))}; expected messages or conversations, an instruction and its "
        "output (or prompt and response, question and answer), or chosen and rejected"
    )


def shape_of_entry(entry: Mapping[str, object], where: str) -> Shape:
    """The shape that an entry of `dataset_info.json` describes. Raises DataError for what it cannot."""
    columns, tags = (entry.get(key) or {} for key in ("columns", "tags"))
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("alpaca", "sharegpt") or not isinstance(columns, Mapping) or not isinstance(tags, Mapping):
        raise DataError(
            f"{where}: formatting {shown(formatting)}, columns {shown(columns)}; expected alpaca or sharegpt, and "
            "columns and tags by name"
        )
    if unknown := sorted(set(columns) - COLUMNS):
        raise DataError(f"{where}: columns.{unknown[0]}: no such column; known: {', '.join(sorted(COLUMNS))}")
    for key, reason in UNSEEN.items():
        if key in columns and len(columns) == 1:
            raise DataError(f"{where}: its records {reason}")
    names = {key: str(value) for key, value in columns.items() if value}
    base = Shape(
        history=names.get("history"),
        system=names.get("system"),
        tools=names.get("tools"),
        images=names.get("images"),
        chosen=names.get("chosen"),
        rejected=names.get("rejected"),
        label=names.get("kto_tag"),
    )
    if formatting == "sharegpt":
        roles = ROLES | {str(tags[tag]): role for tag, role in TAGS.items() if tags.get(tag)}
        if tags.get("system_tag"):
            roles |= {str(tags["system_tag"]): "system"}
        role, content = (str(tags.get(key) or usual) for key, usual in (("role_tag", "from"), ("content_tag", "value")))
        messages = names.get("messages", "conversations")
        return replace(base, messages=messages, role=role, content=content, roles=roles)
    if not columns:
        return Shape(("instruction", "input"), ("output",))
    prompt = tuple(names[key] for key in ("prompt", "query") if key in names)
    response = (names["response"],) if "response" in names else ()
    if not response and "chosen" not in names:
        raise DataError(f"{where}: its column {shown(prompt)} is plain text, and no instruction; the reader is 'text'")
    return replace(base, prompt=prompt, response=response)


def keys_of(turn: object, where: str) -> tuple[str, str]:
    """The keys of a turn: ShareGPT's or OpenAI's."""
    if isinstance(turn, Mapping):
        for role, content in (("role", "content"), ("from", "value"), ("role", "value"), ("from", "content")):
            if role in turn and (content in turn or "tool_calls" in turn or "function_call" in turn):
                return role, content
    raise DataError(f"{where}: expected turns with 'role' and 'content', or 'from' and 'value'; got {shown(turn)}")
