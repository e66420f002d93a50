"""Chat templates of real checkpoints, word for word as `transformers` renders them, refusals included."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models
from transformers import PreTrainedTokenizerFast

from sepiola.errors import DataError
from sepiola.text.chat import ChatTemplate

DATA = os.environ.get("SEPIOLA_DATA")
HUB = Path(DATA or ".") / "hub_configs"
pytestmark = pytest.mark.skipif(not (DATA and HUB.is_dir()), reason="no $SEPIOLA_DATA/hub_configs: real chat templates")
FILES = ("tokenizer_config.json", "processor_config.json", "chat_template.json")
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi, 你好 "},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "这是什么？"},
]
SYSTEM = {"role": "system", "content": "You help. 帮忙。"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather of a <city> 天气",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"city": "成都"}}}
CALLS = [
    TURNS[0],
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "weather", "tool_call_id": "abcdefghi", "content": '{"晴": 21}'},
]
PICTURES = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "几只？"}, {"type": "image"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "Two."}]},
    {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
]
IN_PARTS = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in [SYSTEM, *TURNS]]
NO_CONVERSATIONS = {"scienceqa-chatbot-processor/tokenizer_config.json"}  # its template takes a dict, not messages
CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "one turn": (TURNS[:1], {}),
    "three turns": (TURNS, {}),
    "system": ([SYSTEM, *TURNS], {}),
    "tools": ([SYSTEM, *TURNS], {"tools": TOOLS}),
    "tools are called": (CALLS, {"tools": TOOLS}),
    "pictures": (PICTURES, {}),
    "parts": (IN_PARTS, {}),
    "flat tools": (TURNS, {"tools": [{**TOOLS[0]["function"], "parameter_definitions": {}}]}),
    "variables of its own": (TURNS, {"functions": "[]", "datetime": "2024-07-26"}),
}


@lru_cache(maxsize=1)
def sources() -> dict[str, str]:
    """Every template below the folder, by its file."""
    found = {str(path.relative_to(HUB)): path.read_text(encoding="utf-8") for path in sorted(HUB.rglob("*.jinja"))}
    for path in sorted(path for name in FILES for path in HUB.rglob(name)):
        template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        named = [{"name": "", "template": template}] if isinstance(template, str) else template or []
        found |= {f"{path.relative_to(HUB)} {entry['name']}".strip(): entry["template"] for entry in named}
    return found


@pytest.mark.parametrize("name", sources() if DATA else [])
def test_a_real_template_gives_the_text_of_transformers(name: str) -> None:
    source = sources()[name]
    backend = Backend(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    theirs = PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=source, **SPECIAL)
    ours, rendered = ChatTemplate({"default": source}, SPECIAL), 0
    for what, (messages, options) in CONVERSATIONS.items():
        for begin in (True, False):
            try:
                expected = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=begin, **options)
            except Exception:  # a template refuses or fails in as many ways as code does
                with pytest.raises(DataError):
                    ours.render(messages, add_generation_prompt=begin, **options)
                continue
            assert ours.render(messages, add_generation_prompt=begin, **options) == expected, what
            rendered += 1
    assert bool(rendered) == (name not in NO_CONVERSATIONS), "each template takes one of the conversations"
