"""Chat templates: how a checkpoint lays out a conversation as text, by the Jinja template that it brings along.

What comes out is what `transformers`' `apply_chat_template` gives: the same environment (blocks trimmed, loop
controls, `raise_exception`, `strftime_now`, `tojson` that escapes no HTML, `generation` blocks) and the same variables.
A template is code by whoever uploaded the checkpoint: it runs in a sandbox (`sepiola.text.template_sandbox`), and it
sees plain data only.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError

from sepiola.data.example import Message
from sepiola.data.image import ImageRef
from sepiola.errors import CheckpointError, DataError, brief, shown
from sepiola.specs.base import Plain
from sepiola.specs.safe_files import MOST_JSON, parse_json, read_json, read_text
from sepiola.text.template_sandbox import BudgetError, RefusalError, budget, counting, environment, marked

CONFIG, TEMPLATE, LEGACY = "tokenizer_config.json", "chat_template.jinja", "chat_template.json"
PROCESSOR = "processor_config.json"
MORE = "additional_chat_templates"
DEFAULT, WITH_TOOLS = "default", "tool_use"
REASONING = ("reasoning_content", "thinking", "reasoning")  # names of a turn's reasoning; templates read the first
# Marks where a message that is to be continued ends; the space at its end tells whether the template trims messages.
REASON = 400  # letters of a template's own message
OPEN_END = "OPEN-END-OF-THE-LAST-MESSAGE "
REPLY_MARKS = ("\U0010fffe", "\U0010ffff")  # no characters: no text holds them
_REPLY_MARKS = re.compile("[\U0010fffe\U0010ffff]")


@dataclass(frozen=True)
class ChatTemplate:
    """A checkpoint's templates by name (`default` is the usual one) and its special tokens (`bos_token` …)."""

    templates: Mapping[str, str]
    special_tokens: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | Path, *, sees: bool = True) -> ChatTemplate | None:
        """The template of a folder in the Hub's layout, or None when it has none.

        Read from `chat_template.jinja` and `additional_chat_templates/`, else from `tokenizer_config.json`, else from
        the processor's files: `processor_config.json`, `chat_template.json`. A model that `sees` has a processor, whose
        files then come first. Raises CheckpointError when a file is damaged.
        """
        folder = Path(folder)
        config = _read_json(folder / CONFIG)
        found = {p.stem: p for p in sorted((folder / MORE).glob("*.jinja"))}
        if os.path.lexists(folder / TEMPLATE):
            found[DEFAULT] = folder / TEMPLATE
        files = {name: read_text(path, CheckpointError, most=MOST_JSON) for name, path in found.items()}
        processor = [_read_json(folder / name).get("chat_template") for name in (PROCESSOR, LEGACY)]
        tokenizer = config.get("chat_template")
        places = [*processor, files, tokenizer] if sees else [files, tokenizer, *processor]
        templates = _by_name(next((place for place in places if place), None), folder)
        if not templates:
            return None
        if "added_tokens_decoder" not in config:  # older checkpoints keep their special tokens apart
            config |= _read_json(folder / "special_tokens_map.json")
        return cls(templates, _special_tokens(config))

    def render(
        self,
        messages: Sequence[Message | Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None = None,
        add_generation_prompt: bool = True,
        *,
        documents: Sequence[Mapping[str, object]] | None = None,
        continue_final_message: bool = False,
        template: str | None = None,
        **variables: object,
    ) -> str:
        """A conversation as text.

        Messages are ours, or dicts as on the Hub; tools are JSON schemas, documents have `title` and `text`. `template`
        names one of several; without it `tool_use` serves where tools are given and it is there. With
        `continue_final_message` the last message stays open, for the model to go on with it, and no new turn is begun.
        Further variables reach the template (`enable_thinking=False`). Raises DataError when the template refuses the
        conversation, fails on it, or does what the sandbox bars.
        """
        source = self._choose(template, tools)
        if not messages:
            raise DataError("an empty conversation; a chat template needs one message or more")
        if not all(isinstance(item, Mapping) for item in (*(tools or ()), *(documents or ()))):
            raise DataError("tools are JSON schemas, and documents have 'title' and 'text': each is a dict")
        turns = [_turn(message, source) for message in messages]
        if continue_final_message:
            _open_end(turns[-1])
        text = _run(
            source,
            messages=turns,
            tools=_plain(tools),
            documents=_plain(documents),
            add_generation_prompt=add_generation_prompt and not continue_final_message,
            **{**self.special_tokens, **_plain(variables)},
        )
        return _cut_open_end(text) if continue_final_message else text

    def render_replies(
        self, messages: Sequence[Message | Mapping[str, object]], tools: Sequence[Mapping[str, object]] | None = None
    ) -> tuple[str, list[tuple[int, int]]]:
        """A whole conversation as text, and where the template says that the assistant wrote (`{% generation %}`).

        There is none where it does not say.
        """
        with marked(*REPLY_MARKS):
            text = self.render(messages, tools, add_generation_prompt=False)
        pieces = _REPLY_MARKS.split(text)
        ends = list(itertools.accumulate(len(piece) for piece in pieces))
        return "".join(pieces), list(zip(ends[:-1:2], ends[1::2], strict=True))

    def turn_end(self) -> str:
        """What the template sets after the text of an assistant's turn; nothing where it does not tell."""
        messages = [Message("user", ("?",)), Message("assistant", ("!",))]
        try:
            whole = self.render(messages, add_generation_prompt=False)
            return whole.removeprefix(self.render(messages, continue_final_message=True))
        except DataError:
            return ""

    def to_config(self) -> Plain:
        """What `tokenizer_config.json` holds of it, as `load` and `transformers` read it."""
        named = [{"name": name, "template": source} for name, source in self.templates.items()]
        return {**self.special_tokens, "chat_template": self.only if self.only is not None else named}

    @property
    def only(self) -> str | None:
        """The template where there is one alone; None where there are several."""
        return self.templates[DEFAULT] if list(self.templates) == [DEFAULT] else None

    def _choose(self, name: str | None, tools: object) -> str:
        if name is None:
            name = WITH_TOOLS if tools is not None and WITH_TOOLS in self.templates else DEFAULT
        if name not in self.templates:
            raise DataError(f"no chat template is named '{name}'; this checkpoint has: {', '.join(self.templates)}")
        return self.templates[name]


def _by_name(templates: object, folder: Path) -> dict[str, str]:
    """Templates by name, of any of the ways in which a file states them."""
    match templates:
        case None:
            return {}
        case str():
            return {DEFAULT: templates}
        case list() if all(isinstance(entry, Mapping) and {"name", "template"} <= entry.keys() for entry in templates):
            templates = {entry["name"]: entry["template"] for entry in templates}
    if isinstance(templates, Mapping) and all(isinstance(source, str) for source in templates.values()):
        return dict(templates)
    raise CheckpointError(f"{folder}: chat_template is neither a text nor a list of 'name' and 'template'")


def as_dict(message: Message, *, in_parts: bool = True) -> Plain:
    """A message of ours as the Hub writes it: content as a list of parts, or as one text, images left out."""
    said = message.content[:-1] if message.calls else message.content
    rest: Plain = {"tool_calls": [_call_as_dict(call) for call in message.calls]} if message.calls else {}
    rest |= dict(message.about)
    if not in_parts:
        return {"role": message.role, "content": "".join(p for p in said if isinstance(p, str)), **rest}
    parts = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in said]
    return {"role": message.role, "content": parts, **rest}


def _call_as_dict(call: Mapping[str, object]) -> Plain:
    own = {key: value for key, value in call.items() if key != "id"}
    named = {"id": call["id"]} if "id" in call else {}
    return {**named, "type": "function", "function": own}


def as_messages(messages: Sequence[Message | Mapping[str, object]]) -> list[Message]:
    """The messages of a conversation. Raises DataError as `as_message`, and for what is no list of them."""
    if isinstance(messages, str | bytes | Mapping | Message) or not isinstance(messages, Iterable):
        raise DataError(f"messages: got {shown(messages)}; expected a list of dicts with 'role' and 'content'")
    return [as_message(message) for message in messages]


def as_message(message: Message | Mapping[str, Any]) -> Message:
    """A message of ours from one as the Hub or OpenAI writes it: `content` is a text, or a list of parts.

    Parts are texts, `{"type": "text", "text": …}` and pictures: `{"type": "image", "image" | "path" | "url": …}` or
    `{"type": "image_url", "image_url": {"url": …}}`, as a path, a `data:` URL or a picture in memory. The assistant may
    have `tool_calls`, and no content beside them; a `tool` has a `name` or a `tool_call_id`. Raises DataError for other
    parts, for calls that are none, and for addresses on the network, which are not fetched.
    """
    if isinstance(message, Message):
        return message
    content, said = (
        (message.get("content"), message.get("tool_calls")) if isinstance(message, Mapping) else (None, None)
    )
    content = "" if said and content is None else content
    if not isinstance(content, str | list | tuple) or "role" not in message:
        raise DataError(
            f"a message is a dict with 'role' and 'content' (a text, or a list of parts); got {shown(message)}"
        )
    parts = tuple(_part(part) for part in ([content] if isinstance(content, str) else content))
    if not said:
        named = ("name", "tool_call_id") if message["role"] == "tool" else ()
        return Message(
            message["role"], parts, about=tuple((key, str(message[key])) for key in named if message.get(key))
        )
    if message["role"] != "assistant" or not isinstance(said, list | tuple):
        raise DataError(f"tool_calls are a list in a message of the assistant; got {shown(message)}")
    calls = tuple(_call(call) for call in said)
    own = [{key: value for key, value in call.items() if key != "id"} for call in calls]
    return Message("assistant", (*parts, json.dumps(own, ensure_ascii=False)), calls)


def _call(call: object) -> Plain:
    """A call, its `name`, `arguments` and maybe its `id`, of one as the Hub or OpenAI writes it."""
    keys: Plain = _plain(call) if isinstance(call, Mapping) else {}
    inner = keys.get("function", keys)
    arguments = inner.get("arguments", {}) if isinstance(inner, dict) else None
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments or "{}", "", DataError)
        except DataError:
            arguments = None
    if not isinstance(arguments, dict) or not isinstance(inner.get("name"), str):
        raise DataError(
            "a call is {'type': 'function', 'function': {'name': …, 'arguments': …}}, and its arguments an object or "
            f"its JSON; got {shown(call)}"
        )
    named = {"id": str(keys["id"])} if keys.get("id") else {}
    return {"name": inner["name"], "arguments": arguments, **named}


def _part(part: object) -> str | ImageRef:
    if isinstance(part, str | ImageRef):
        return part
    keys = part if isinstance(part, Mapping) else {}
    kind = keys.get("type")
    if kind == "text" and isinstance(keys.get("text"), str):
        return str(keys["text"])
    if kind in ("image", "image_url"):
        source = next((keys[key] for key in ("image", "path", "url", "image_url") if keys.get(key) is not None), None)
        source = source.get("url") if isinstance(source, Mapping) else source
        if source is not None:
            return ImageRef.of(source)
    raise DataError(f"a part of a message is a text or a picture with its path, data or address; got {shown(part)}")


@lru_cache(maxsize=16)
def _compile(source: str) -> tuple[jinja2.Template, bool]:
    """The template, and whether it takes content in parts only: it loops over it and never asks if it is a text."""
    try:
        tree = environment().parse(source)
        loops = any(_is_content(loop.iter) for loop in tree.find_all(nodes.For))
        in_parts = loops and not any(test.name == "string" for test in tree.find_all(nodes.Test))
        return environment().from_string(counting(tree)), in_parts
    except TemplateSyntaxError as error:
        reason = f"line {error.lineno} of the chat template cannot be read as Jinja: {brief(error.message or '')}"
    except Exception as error:  # of nesting without end
        reason = f"the chat template cannot be read as Jinja ({type(error).__name__}: {brief(str(error))})"
    raise DataError(reason)


def _is_content(node: nodes.Node | None) -> bool:
    while isinstance(node, nodes.Filter):
        node = node.node
    match node:
        case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=name)) | nodes.Name(name=name):
            return bool(name == "content")
    return False


def _run(source: str, /, **variables: object) -> str:
    try:
        with budget():
            return _compile(source)[0].render(**variables)
    except RefusalError as error:
        raise DataError(f"the chat template refuses this conversation: {brief(str(error), REASON)}") from None
    except SecurityError as error:
        raise DataError(f"the chat template does what the sandbox bars: {brief(str(error), REASON)}") from None
    except BudgetError as error:
        raise DataError(f"the chat template is stopped: {error}, which no conversation needs") from None
    except DataError:
        raise
    except Exception as error:  # a template fails in as many ways as code does
        reason = f"{type(error).__name__}: {brief(str(error), REASON)}"
        raise DataError(
            f"the chat template fails on this conversation ({reason}); see in the model's description which roles and "
            "contents it takes"
        ) from None


def _turn(message: Message | Mapping[str, object], source: str) -> Plain:
    """A message as the template reads it: plain data, no None, its reasoning under every name."""
    if isinstance(message, Message):
        pictured = any(not isinstance(part, str) for part in message.content)
        return dict(_plain(as_dict(message, in_parts=pictured or _compile(source)[1])))
    if not isinstance(message, Mapping):
        raise DataError(f"a message is a dict with 'role' and 'content', or a Message; got {message!r}")
    turn: Plain = _plain({key: value for key, value in message.items() if value is not None})
    reasoning = next((turn[name] for name in REASONING if turn.get(name) is not None), None)
    return turn if reasoning is None else {"thinking": reasoning, **turn, REASONING[0]: reasoning}


def _plain(value: object) -> Any:
    """Plain data: what else is inside (pictures, arrays) stands as its type's name, for objects have methods."""
    match value:
        case None | bool():
            return value
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case np.generic():
            return _plain(value.item())
        case Mapping():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case tuple():
            return tuple(_plain(item) for item in value)
        case list():
            return [_plain(item) for item in value]
    return f"<{type(value).__name__}>"


def _open_end(turn: Plain) -> None:
    """Marks the end of a turn's text."""
    content = turn.get("content")
    if isinstance(content, str):
        turn["content"] = content + OPEN_END
        return
    texts = [part for part in content or () if isinstance(part, dict) and isinstance(part.get("text"), str)]
    if not texts:
        raise DataError("continue_final_message: the last message has no text to go on with")
    texts[-1]["text"] += OPEN_END


def _cut_open_end(text: str) -> str:
    """What stands before the mark; without the spaces before it where the template trims what it lays out."""
    kept, mark, after = text.rpartition(OPEN_END.rstrip())
    if not mark:
        raise DataError("continue_final_message: the chat template does not show the last message's text as it is")
    return kept if after.startswith(" ") else kept.rstrip()


def _special_tokens(config: Mapping[str, object]) -> dict[str, str]:
    """A tokenizer config's named special tokens; each is a text, or a dict with its `content`."""
    extra = config.get("extra_special_tokens")
    named = {**config, **(extra if isinstance(extra, dict) else {})}
    tokens = {key: v.get("content") if isinstance(v, dict) else v for key, v in named.items() if key.endswith("_token")}
    return {key: token for key, token in tokens.items() if isinstance(token, str)}


def _read_json(path: Path) -> Plain:
    if not os.path.lexists(path):
        return {}
    raw = read_json(path, CheckpointError)
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path}: a JSON object is expected")
    return raw
