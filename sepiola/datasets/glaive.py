"""Glaive's tool calls in the form of LLaMA-Factory: conversations that declare functions, in English and Chinese.

Every request of a conversation is an example: what was said before it, and the call that follows, if one does. Calls
stand among the messages as the assistant's JSON, results as the user's. Conversations without functions are left out.
Conversations that share a function, in whichever language, are of one split: no function of `val` or `test` is
declared in `train`, of which the largest group is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from sepiola.data.example import Example, Message
from sepiola.datasets.records import existing_folder, field, one_of, read_json
from sepiola.datasets.tool_calls import calling, tool_of
from sepiola.errors import DataError, shown
from sepiola.specs.base import Plain
from sepiola.specs.safe_files import parse_json
from sepiola.specs.values import Names
from sepiola.tidepool.words import LANGUAGES

SPLITS = ["train", "val", "test"]
HELD_OUT = 85  # of 256 groups of functions so many are of `val`, and as many of `test`
ROLES = ("human", "gpt", "function_call", "observation")


def read_glaive(root: Path, split: str, *, languages: Names = LANGUAGES) -> list[Example]:
    """Reads `<root>/glaive_toolcall_<language>_demo.json`. Raises DataError for a turn or a call that is damaged."""
    root = existing_folder(root, "Glaive's tool calls (glaive_toolcall_en_demo.json, glaive_toolcall_zh_demo.json)")
    one_of(split, SPLITS, "Glaive")
    talks = []
    for language in LANGUAGES:
        if language in languages or (root / _file(language)).is_file():
            path = root / _file(language)
            records = read_json(path)
            if not isinstance(records, list):
                raise DataError(f"{path}: expected a list of conversations, got {shown(records)}")
            for number, record in enumerate(records):
                where = f"{path}, conversation {number}"
                if not isinstance(record, dict):
                    raise DataError(f"{where}: expected an object, got {shown(record)}")
                if tools := _tools(record, where):
                    talks.append((language, f"glaive-{language}-{number}", record, tools, where))
    groups = _groups([[tool["function"]["name"] for tool in tools] for _, _, _, tools, _ in talks])
    members = Counter(groups[tools[0]["function"]["name"]] for _, _, _, tools, _ in talks)
    largest = max(members, key=lambda group: (members[group], group), default="")
    for language in languages:
        if language not in LANGUAGES:
            raise DataError(f"Glaive has no language {shown(language)}; known: {', '.join(LANGUAGES)}")
    examples = []
    for language, identity, record, tools, where in talks:
        group = groups[tools[0]["function"]["name"]]
        if language in languages and (_split(group) if group != largest else "train") == split:
            metadata = {"split": split, "language": language, "group": group, "picture": "none"}
            examples += _requests(record, identity, tools, metadata, where)
    return examples


def _requests(
    record: Mapping[str, object], identity: str, tools: list[Plain], metadata: Mapping[str, object], where: str
) -> list[Example]:
    """An example for each request of a conversation."""
    turns = [_turn(turn, where) for turn in field(record, "conversations", (list,), where)]
    examples, before = list[Example](), list[Message]()
    for place, (speaker, said) in enumerate(turns):
        user = speaker in ("human", "observation")
        before.append(Message("user" if user else "assistant", (said,)))
        if speaker != "human" or place + 1 == len(turns):
            continue
        follows, text = turns[place + 1]
        calls = [_call(text, where)] if follows == "function_call" else []
        examples.append(calling(f"{identity}-{len(examples)}", before, calls, tools, metadata))
    return examples


def _turn(turn: object, where: str) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise DataError(f"{where}: expected a turn, got {shown(turn)}")
    return one_of(field(turn, "from", (str,), where), list(ROLES), f"{where}: Glaive's 'from'"), field(
        turn, "value", (str,), where
    )


def _call(text: str, where: str) -> dict[str, object]:
    said = parse_json(text, f"{where}: function_call", DataError)
    if not isinstance(said, dict):
        raise DataError(f"{where}: expected a call, got {shown(said)}")
    return {"name": field(said, "name", (str,), where), "arguments": field(said, "arguments", (dict,), where)}


def _tools(record: Mapping[str, object], where: str) -> list[Plain]:
    text = field(record, "tools", (str,), where)
    declared = parse_json(text, f"{where}: tools", DataError) if text.strip() else []
    if not isinstance(declared, list) or not all(isinstance(each, dict) for each in declared):
        raise DataError(f"{where}: 'tools' is {shown(declared)}; expected a list of functions")
    return [
        tool_of(field(f, "name", (str,), where), str(f.get("description") or ""), f.get("parameters"), where)
        for f in declared
    ]


def _groups(declared: list[list[str]]) -> dict[str, str]:
    """Each function's group, named by its first function: functions that are declared together are of one."""
    groups: list[set[str]] = []
    for names in declared:
        joined = set(names).union(*(group for group in groups if group & set(names)))
        groups = [group for group in groups if not group & joined] + [joined]
    return {name: min(group) for group in groups for name in group}


def _split(group: str) -> str:
    drawn = hashlib.sha256(group.encode()).digest()[0]
    return "test" if drawn < HELD_OUT else "val" if drawn < 2 * HELD_OUT else "train"


def _file(language: str) -> str:
    return f"glaive_toolcall_{language}_demo.json"
